"""`make test-browser` says what is missing instead of skipping in silence."""

import browser_tests


def test_without_a_browser_it_fails_and_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(browser_tests.shutil, "which", lambda name: None)
    assert browser_tests.main() == 1
    assert "Install Chromium and run this again" in capsys.readouterr().err


def test_apt_is_used_by_root_alone(monkeypatch):
    ran = []
    monkeypatch.setattr(browser_tests.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(browser_tests.subprocess, "run", lambda command, **_: ran.append(command))
    monkeypatch.setattr(browser_tests.os, "geteuid", lambda: 1000)
    browser_tests.install_browser()
    assert ran == []
    monkeypatch.setattr(browser_tests.os, "geteuid", lambda: 0)
    browser_tests.install_browser()
    assert [command[2] for command in ran] == ["update", "install"]


def test_playwright_is_installed_with_its_pins_and_a_failure_is_passed_on(monkeypatch, capsys):
    class Failed:
        returncode = 3

    ran = []
    monkeypatch.setattr(browser_tests.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(browser_tests.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(browser_tests.subprocess, "run", lambda command, **_: ran.append(command) or Failed)
    assert browser_tests.main() == 3
    assert len(ran) == 1 and ran[0][-4:] == ["-c", "constraints.txt", "-e", ".[browser]"]
    assert "playwright could not be installed" in capsys.readouterr().err
