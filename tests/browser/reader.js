// What the reader of reader.py looks for in JupyterLab's page: `window.reader`.

() => {
    const panel = window.jupyterapp.shell.currentWidget; // stays this notebook when another is opened beside it
    const cells = () => panel.content.widgets;
    const stored = () => panel.content.model.toJSON().cells;
    const complaints = []; // what the kernel says outside of cells: there an error in a widget's function ends up
    panel.sessionContext.iopubMessage.connect((_, { header, content }) => {
        if (header.msg_type === "error") complaints.push(`${content.ename}: ${content.evalue}`);
        if (header.msg_type !== "stream" || content.name !== "stderr") return;
        // JupyterLab asks a restarted kernel for the old one's widgets, and is told so: that is between the two
        complaints.push(...content.text.split("\n").filter((line) => line && !line.startsWith("No such comm")));
    });

    // code cells that were not run, or ended with an error or a word on stderr
    const failures = () => stored().flatMap((cell, index) => {
        if (cell.cell_type !== "code" || !cell.source.length) return [];
        if (cell.execution_count === null) return [`cell ${index} was not run`];
        const bad = cell.outputs.filter((output) => output.output_type === "error" || output.name === "stderr");
        return bad.map((output) => `cell ${index}: ${output.ename ?? "stderr"} ${output.evalue ?? output.text}`);
    });

    // what a cell's output shows: pictures, players, and text, without the numbers beside sliders
    const shown = (index) => {
        const output = cells()[index].node.querySelector(".jp-Cell-outputArea").cloneNode(true);
        output.querySelectorAll(".widget-readout").forEach((node) => node.remove());
        return [...output.querySelectorAll("img, video")].map((node) => node.src).join() + output.textContent;
    };

    const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => {
        const [r, g, b] = numbers(colour).map((x) => (x < 10 ? x / 12.92 / 255 : ((x / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor, parts = numbers(colour);
            if (parts.length < 4 || parts[3] > 0.5) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const scrolls = (node, end) => {
        for (; node && node !== end; node = node.parentElement) {
            if (["auto", "scroll"].includes(getComputedStyle(node).overflowX)) return true;
        }
        return false;
    };

    // Of one node in an output: wider than its place with no bar to scroll it by; text too small to read; text that is
    // hardly lighter or darker than what is behind it, by the formula of WCAG 2.
    const flawsOf = (node, output) => {
        const box = node.getBoundingClientRect(), style = getComputedStyle(node), found = [];
        const hidden = !box.width || style.visibility === "hidden";
        if (hidden || node.closest("option, [disabled], .noUi-base")) return found;
        const over = Math.round(box.right - output.getBoundingClientRect().right);
        if (over > 2 && !scrolls(node.parentElement, output.parentElement)) found.push(`${over} px too wide`);
        if (node.tagName === "IMG" && !node.naturalWidth) found.push("an empty picture");
        if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) return found;
        if (parseFloat(style.fontSize) < 10) found.push(`text of ${style.fontSize}`);
        const [less, more] = [light(style.color), light(behind(node))].sort((a, b) => a - b);
        const contrast = (more + 0.05) / (less + 0.05);
        if (contrast < 3) found.push(`contrast of ${contrast.toFixed(1)}`);
        return found.map((flaw) => `${flaw}: ${node.tagName} ${node.textContent.trim().slice(0, 40)}`);
    };

    // of the cells on the screen
    const flaws = () => cells().flatMap(({ node }, index) => {
        const place = node.getBoundingClientRect();
        const output = node.querySelector(".jp-Cell-outputArea, .jp-MarkdownOutput");
        if (!output || place.bottom < 0 || place.top > innerHeight) return [];
        const found = [...output.querySelectorAll("*")].flatMap((each) => flawsOf(each, output));
        return found.map((flaw) => `cell ${index}: ${flaw}`);
    });

    window.reader = { panel, cells, stored, complaints, failures, shown, flaws };
}
