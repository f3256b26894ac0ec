# SPDX-License-Identifier: MIT
"""The report as a picture: ratios as bars, curves as lines."""

from . import report
from .kit import OURS

REMEDY = (
    "--plot needs matplotlib for {}:\n"
    "  Debian: apt install python3-matplotlib, and run ft-bench with /usr/bin/python3;\n"
    "  else:   pip install matplotlib\n"
    "  or measure now with --json FILE and draw later with --load FILE --plot FILE."
)

_COLOURS = ("#d1495b", "#edae49", "#66a182", "#2e4057", "#8d96a3")
_OURS = "#00798c"


def available():
    """Whether pictures can be made here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def formats():
    """The endings that a picture's name may have."""
    from matplotlib.figure import Figure

    return sorted(Figure().canvas.get_supported_filetypes())


def _bars(document):
    """(what, peer, ratio) of each row that is no curve and compares."""
    many = len([s for s in document["sources"] if s["backend"]]) > 1
    found = []
    for row in document["rows"]:
        if row["x"] is not None:
            continue
        source = document["sources"][row["source"]]
        title = f"{row['group']}: {row['title']}"
        if many and source["backend"]:
            title += f" ({source['name']})"
        for peer in row["subjects"]:
            if peer.get("ratio"):
                found.append((title, peer["name"], peer["ratio"]))
                title = ""
    return found


def _curves(document):
    """{(source, group, unit): {subject: [(x, its name, median)]}}"""
    found = {}
    for row in document["rows"]:
        if row["x"] is None:
            continue
        curve = found.setdefault((row["source"], row["group"], row["unit"]), {})
        for subject in row["subjects"]:
            if "median" in subject:
                point = (row["x"], row["title"], subject["median"])
                curve.setdefault(subject["name"], []).append(point)
    return {key: curve for key, curve in found.items() if curve}


def _plain(value, position=None):
    return f"{value:g}" if value < 1e6 else f"{value:,.0f}"


def _draw_bars(axes, bars):
    names = list(dict.fromkeys(peer for _, peer, _ in bars))
    colours = {peer: _COLOURS[i % len(_COLOURS)] for i, peer in enumerate(names)}
    for peer in names:
        mine = [(y, ratio) for y, (_, name, ratio) in enumerate(bars) if name == peer]
        lengths = [ratio - 1 for _, ratio in mine]
        axes.barh([y for y, _ in mine], lengths, 0.8, left=1, color=colours[peer], label=peer)
    for y, (_, _, ratio) in enumerate(bars):
        text = f" {_plain(float(f'{ratio:.3g}'))}×"
        axes.annotate(text, (max(ratio, 1), y), va="center", fontsize=6)
    axes.set_yticks(range(len(bars)), [title for title, _, _ in bars], fontsize=6)
    axes.set_ylim(len(bars) - 0.3, -0.7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_plain)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("the peer's time to ours (right of 1: freethreading is faster)")
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.1)
    axes.legend(fontsize=6, loc="lower right")


def _draw_curve(axes, title, unit, curve):
    from matplotlib.ticker import LogLocator

    ticks = {}
    for number, (name, points) in enumerate(curve.items()):
        xs, labels, ys = zip(*points)
        ticks.update(zip(xs, labels))
        colour = _OURS if name == OURS else _COLOURS[(number - 1) % len(_COLOURS)]
        axes.plot(xs, ys, "o-", markersize=3, label=name, color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_xticks(list(ticks), ticks.values(), fontsize=6)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(_plain)
    axes.tick_params(labelsize=6)
    axes.set_ylabel("µs" if unit == "us" else unit, fontsize=6)
    axes.set_title(title, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)


def draw(document, path):
    """Write the picture; the file's ending says which sort.  Raises ValueError
    if there is nothing to draw, OSError."""
    from matplotlib.figure import Figure

    bars, curves = _bars(document), _curves(document)
    if not bars and not curves:
        raise ValueError("there is nothing to draw: no row compares with a peer")
    tall, wide = 1.2 + 0.14 * len(bars), bool(curves)
    figure = Figure(figsize=(14 if wide else 9, max(4, tall, 3 * len(curves))), layout="tight")
    grid = figure.add_gridspec(max(1, len(curves)), 2 if wide else 1)
    axes = figure.add_subplot(grid[:, 0])
    axes.set_title(f"freethreading and its peers on {document['machine']['cpu']}", fontsize=9)
    _draw_bars(axes, bars)
    for number, ((source, group, unit), curve) in enumerate(curves.items()):
        title = f"{group} ({document['sources'][source]['name']})"
        _draw_curve(figure.add_subplot(grid[number, 1]), title, unit, curve)
    figure.text(0.01, 0.003, " ".join(report.remarks(document)), fontsize=6)
    figure.savefig(path)
