/* --- cards, the table of errors, charts ---------------------------------------------------- */
function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
$('subtitle').textContent = D.subtitle;
for (const [title, figure, words] of D.cards) {
  const card = element('div', undefined, 'card');
  card.append(element('h2', title), element('p', figure), element('small', words));
  $('cards').append(card);
}
for (const [kind, text] of D.about) $('about').append(element('p', text, kind));

function errorTable() {
  if (!D.table.rows) return;
  $('errors').hidden = false;
  const n = D.table.at.length, head = element('thead'), groups = element('tr'), instants = element('tr');
  groups.append(element('th'));
  for (const name of ['a joint, mean', 'the pelvis alone']) { const th = element('th', name, 'gap'); th.colSpan = n; th.scope = 'colgroup'; groups.append(th); }
  instants.append(element('th', 'ahead'));
  for (let group = 0; group < 2; group++) D.table.at.forEach((at, i) => instants.append(element('th', at, i ? '' : 'gap')));
  head.append(groups, instants);
  const body = element('tbody');
  for (const row of D.table.rows) {
    const tr = element('tr', undefined, row.kind), name = element('th', row.name);
    name.scope = 'row'; tr.append(name);
    for (const values of [row.joint, row.pelvis]) values.forEach((v, i) => tr.append(element('td', v, i ? '' : 'gap')));
    body.append(tr);
  }
  $('table').append(head, body);
  for (const note of D.table.notes) $('notes').append(element('p', note));
}

const COLOURS = { 'best sample': '--sample', 'expected future': '--likely', 'standing still': '--still', 'damped velocity': '--straight' };
function plot(series, at, W, H, marks, unit) { // lines over `at`, their names at the right
  const names = Object.keys(series), L = 36, B = 28, R = 128, U = 10;
  const last = at[at.length - 1];
  const top = Math.max(...names.map(n => Math.max(...series[n]))) * 1.06 || 1;
  const step = [.1, .2, .5, 1, 2, 5, 10, 20, 50].find(s => top / s <= 6) || 100;
  const x = t => L + (W - L - R) * t / last, y = v => H - B - (H - B - U) * v / top;
  let out = '';
  for (let v = 0; v <= top; v += step) out += `<line x1="${L}" x2="${W - R}" y1="${y(v)}" y2="${y(v)}" stroke="var(--line)"/><text x="${L - 6}" y="${y(v) + 4}" text-anchor="end">${+v.toFixed(2)}</text>`;
  for (let t = 0; t <= last + 1e-6; t += marks) out += `<text x="${x(t)}" y="${H - 8}" text-anchor="middle">${t.toFixed(marks % 1 ? 1 : 0)}${t ? '' : ' ' + unit}</text>`;
  const labels = names.map(n => [n, y(series[n][series[n].length - 1])]).sort((a, b) => a[1] - b[1]);
  for (let i = 1; i < labels.length; i++) labels[i][1] = Math.max(labels[i][1], labels[i - 1][1] + 16);
  for (const n of names) out += `<polyline fill="none" stroke="var(${COLOURS[n]})" stroke-width="2.5" stroke-linejoin="round" points="${series[n].map((v, i) => x(at[i]).toFixed(1) + ',' + y(v).toFixed(1)).join(' ')}"/>`;
  for (const [n, place] of labels) out += `<text x="${W - R + 8}" y="${place + 4}" style="fill: var(${COLOURS[n]}); font-weight: 600">${n}</text>`;
  return [`<svg viewBox="0 0 ${W} ${H}" width="100%" role="img">${out}<line class="now" y1="${U}" y2="${H - B}" stroke="var(--soft)" visibility="hidden"/></svg>`, x];
}
const narrow = matchMedia('(max-width: 800px)').matches; // text of a chart stays as large as it is
function horizonChart() {
  const names = Object.keys(D.curves);
  if (!names.length) { $('chart-title').textContent = 'No prediction whose whole future is known'; return; }
  $('chart-title').textContent = 'Error over the horizon, centimetres a joint (mean of ' + D.scored + ' predictions)';
  const count = D.curves[names[0]].length, from0 = {};
  for (const n of names) from0[n] = [0, ...D.curves[n]];
  $('chart').innerHTML = plot(from0, [0, ...D.times.slice(0, count)], narrow ? 420 : 640, 250, .5, 's')[0];
}
let nowLine = null, nowX = null; // the instant shown, in the chart of the running error
function runningChart() {
  if (!D.running.at) return;
  $('learning').hidden = false;
  $('running-title').textContent = 'Error ' + D.running.ahead + ' s ahead while the node watches: mean of the last ' + D.running.over + ' s, centimetres a joint';
  const last = D.running.at[D.running.at.length - 1], marks = [5, 10, 20, 30, 60, 120].find(m => last / m <= (narrow ? 6 : 12)) || 300;
  const [svg, x] = plot(D.running.cm, D.running.at, narrow ? 420 : 1100, 260, marks, 's');
  $('running').innerHTML = svg; nowX = x;
  nowLine = $('running').querySelector('.now');
}
errorTable();
runningChart();
horizonChart();
