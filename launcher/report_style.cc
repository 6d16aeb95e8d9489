#include "launcher/report_style.h"

namespace shardit {

// Colours: Okabe and Ito's set, which people with any colour vision can tell apart; lines differ in dash too.
const char* const kReportStyle = R"css(
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1b1f24; --soft: #5b6570; --rule: #e3e6ea;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b0548a; --c4: #b8860b; --c5: #3a9bd9; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --card: #1d2127; --ink: #e8eaed; --soft: #9aa4af; --rule: #31373f;
    --c0: #5cb8f0; --c1: #ff9a4d; --c2: #2fc79b; --c3: #e79ac6; --c4: #f0d050; --c5: #a5d8ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 27px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 0; }
p { margin: 0; }
.lead { color: var(--soft); margin: 4px 0 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px; }
.tile, figure, .card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.tile { padding: 12px 14px; }
.tile b { display: block; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.3; }
.tile span { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 16px; }
figure { margin: 0; padding: 14px 16px 10px; min-width: 0; }
figcaption p { color: var(--soft); font-size: 13px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; margin-top: 6px; }
.swatch { width: 22px; height: 10px; margin-right: 6px; vertical-align: middle; }
.chart { position: relative; display: flex; flex-direction: column; } .chart .plot { margin-top: auto;
  padding-top: 6px; }
.plot { display: block; width: 100%; height: auto; overflow: visible; }
.plot text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.plot .y, .plot .end { text-anchor: end; }
.plot .x { text-anchor: middle; }
.grid { stroke: var(--rule); } .axis { stroke: var(--soft); } .cursor { stroke: var(--soft); stroke-dasharray: 2 2; }
.mark { stroke: var(--soft); stroke-dasharray: 3 4; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.faint { fill: none; stroke-width: 1; stroke-opacity: .35; }
.band { stroke: none; fill-opacity: .2; } .area { fill-opacity: .72; stroke: none; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); }
.s4 { stroke: var(--c4); } .s5 { stroke: var(--c5); }
.band.s0, .area.s0, .dot.s0 { fill: var(--c0); } .band.s1, .area.s1, .dot.s1 { fill: var(--c1); }
.band.s2, .area.s2, .dot.s2 { fill: var(--c2); }
.band.s3, .area.s3, .dot.s3 { fill: var(--c3); } .band.s4, .area.s4, .dot.s4 { fill: var(--c4); }
.band.s5, .area.s5, .dot.s5 { fill: var(--c5); }
.band, .area { stroke: none !important; }
.line.s1 { stroke-dasharray: 8 4; } .line.s2 { stroke-dasharray: 2 4; stroke-linecap: round; }
.line.s3 { stroke-dasharray: 10 3 2 3; }
.line.s4 { stroke-dasharray: 4 3; } .line.s5 { stroke-dasharray: 14 4; }
.readout { position: absolute; pointer-events: none; background: var(--card); border: 1px solid var(--rule);
  border-radius: 6px;
  padding: 4px 9px; font-size: 12px; line-height: 1.45; white-space: nowrap; box-shadow: 0 2px 8px #0003;
  font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 500; } thead th { color: var(--soft); font-size: 13px; }
td, th { padding: 6px 22px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
tr:last-child > td, tr:last-child > th { border-bottom: 0; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars { margin: 10px 0 4px; } .bars th { white-space: nowrap; } .bars .bar { width: 70%; vertical-align: middle; }
.bars .bar div { background: var(--c0); height: 13px; border-radius: 3px; min-width: 1px; }
.bars td:last-child { padding-right: 0; }
.card { padding: 10px 16px; overflow-x: auto; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { margin: 0; columns: 3 260px; column-gap: 32px; white-space: pre-wrap; overflow-wrap: anywhere; }
td code { overflow-wrap: anywhere; }
.samples { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 16px; align-items: start; }
.samples img { display: block; width: 100%; border-radius: 6px; image-rendering: pixelated; background: #8883; }
.samples figure { padding: 10px; } .samples figcaption { font-size: 13px; color: var(--soft); margin-bottom: 6px; }
.earlier { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; }
.empty { color: var(--soft); padding: 26px; text-align: center; }
footer { color: var(--soft); font-size: 13px; margin-top: 36px; }
@media (max-width: 720px) { .samples { grid-template-columns: 1fr; } main { padding: 18px 12px 40px; }
.plot text { font-size: 17px; } }
@media print { body { background: #fff; } figure, .tile { break-inside: avoid; } }
)css";

// A readout under the pointer: the nearest step of each curve. The page is complete without it.
const char* const kReportScript = R"js(
for (const plot of document.querySelectorAll('.plot')) {
  const [low, high, left, right] = plot.dataset.x.split(' ').map(Number);
  const curves = [...plot.querySelectorAll('[data-points]')].map(curve => ({
    name: curve.dataset.name, points: curve.dataset.points.split(' ').map(p => p.split(',').map(Number))}));
  const figure = plot.closest('figure');
  const readout = Object.assign(document.createElement('div'), {className: 'readout', hidden: true});
  const cursor = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  cursor.setAttribute('class', 'cursor');
  figure.append(readout);
  plot.append(cursor);
  const hide = () => { readout.hidden = true; cursor.style.display = 'none'; };
  hide();
  plot.addEventListener('pointerleave', hide);
  plot.addEventListener('pointermove', event => {
    const box = plot.getBoundingClientRect(), unit = plot.viewBox.baseVal.width / box.width;
    const x = Math.min(right, Math.max(left, (event.clientX - box.left) * unit));
    const wanted = low + (x - left) / (right - left) * (high - low);
    const nearer = (a, b) => Math.abs(b[0] - wanted) < Math.abs(a[0] - wanted) ? b : a;
    const near = curves.map(curve => [curve.name, curve.points.reduce(nearer)]);
    if (!near.length) return;
    const step = near[0][1][0], at = left + (step - low) / (high - low) * (right - left);
    const ends = {x1: at, x2: at, y1: 22, y2: plot.viewBox.baseVal.height - 26};
    for (const key in ends) cursor.setAttribute(key, ends[key]);
    cursor.style.display = '';
    readout.textContent = '';
    const values = near.map(([name, p]) => (name ? name + ' ' : '') + +p[1].toPrecision(4));
    for (const text of ['step ' + Math.round(step).toLocaleString('en'), ...values])
      readout.append(Object.assign(document.createElement('div'), {textContent: text}));
    readout.hidden = false;
    const frame = figure.getBoundingClientRect(), half = readout.offsetWidth / 2;
    const middle = box.left - frame.left + at / unit;
    readout.style.left = Math.min(frame.width - 2 * half - 4, Math.max(4, middle - half)) + 'px';
    readout.style.top = box.top - frame.top + box.height - 20 + 'px';
  });
}
)js";

}  // namespace shardit
