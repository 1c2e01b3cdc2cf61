# make help says what there is. Everything runs in .venv, which `make setup` builds and the others build if need be.

PYTHON ?= $(shell command -v python3 || command -v python3.12 || command -v python3.11 || command -v python)
BIN := .venv/bin/python
READY := .venv/.complete

.DEFAULT_GOAL := help
.PHONY: help setup demo lab html train notebooks test test-browser check format bench clean distclean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

setup: $(READY)  ## build .venv with everything in it; once, then it does nothing

$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c "" >/dev/null 2>&1 || { echo "No Python found that runs (PYTHON is '$(PYTHON)'). RFLAV Lab needs Python 3.11 or 3.12. Install one, or say where it is: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" tools/setup_env.py

demo: $(READY)  ## a 20-second clip with sound and its report, in outputs/
	@$(BIN) tools/demo.py

lab: $(READY)  ## open the notebooks in JupyterLab
	@$(BIN) -m jupyterlab notebooks/00_quickstart.ipynb

html: $(READY)  ## all notebooks as a static site that opens offline: outputs/html/index.html
	@$(BIN) tools/html_site.py

train: $(READY)  ## train the bundled model again: about an hour on 2 cores; Ctrl-C keeps a checkpoint
	@mkdir -p outputs
	@$(BIN) -m papermill notebooks/05_training.ipynb outputs/05_training.ipynb -f configs/toy-landscape.yaml --cwd notebooks

notebooks: $(READY)  ## execute all notebooks and store what they print; NAMES="00_quickstart ..." for some
	@$(BIN) tools/execute_notebooks.py $(NAMES)

# cheap first, and papermill before nbval: papermill notices at once when a kernel dies
test: $(READY)  ## everything this repository claims, checked
	@$(BIN) tools/run_stages.py lint tests papermill nbval

test-browser: $(READY)  ## every notebook and the live player in a real JupyterLab and Chromium; installs Chromium where apt is there
	@$(BIN) tools/browser_tests.py

check: $(READY)  ## lint, types, and the tests nearest to what changed since the last commit: the edit loop
	@$(BIN) tools/run_stages.py lint changed

format: $(READY)  ## put the code in shape
	@$(BIN) -m ruff format . && $(BIN) -m ruff check --fix .

# those of speed and memory, minutes each; the others train for hours, or draw what was measured
bench: $(READY)  ## speed and memory, as ratios: benchmarks/README.md
	@set -e; for name in fusions generation metrics media latents training allocator endless; do echo "== $$name"; $(BIN) benchmarks/$$name.py; done

clean:  ## remove caches; outputs/ and .venv stay
	@rm -rf .coverage* .mypy_cache .pytest_cache .ruff_cache build *.egg-info outputs/.demo-* notebooks/.execute-* notebooks/solutions/.execute-*
	@find . -name __pycache__ -type d -not -path "./.venv/*" -prune -exec rm -rf {} +

distclean: clean  ## remove .venv too
	@rm -rf .venv
