/* --- drawing ------------------------------------------------------------------------------- */
const canvas = $('view'), g = canvas.getContext('2d');
let W = 0, H = 0, css = {}, theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
const camera = { turn: D.view.turn, tilt: .28, zoom: 1, far: D.view.far, x: 0, y: 0, z: .85, pan: [0, 0, 0] };
let box = { x: 0, y: 0, w: 1, h: 1 }; // the part of the canvas that one run is drawn into
function setTheme(name) {
  theme = name; document.documentElement.dataset.theme = name;
  const style = getComputedStyle(document.documentElement);
  for (const n of ['card', 'real', 'sample', 'likely', 'floor', 'shadow', 'soft', 'ink', 'line']) css[n] = style.getPropertyValue('--' + n).trim();
}
const hex = c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16));
function mix(a, b, share) { const x = hex(a), y = hex(b); return 'rgb(' + x.map((v, i) => Math.round(v + (y[i] - v) * share)).join(',') + ')'; }

let eye = {};
function boxOf(run) { // side by side, or one above the other where it is narrow
  const n = D.runs.length, across = W > 700;
  return across ? { x: run * W / n, y: 0, w: W / n, h: H } : { x: 0, y: run * H / n, w: W, h: H / n };
}
function aim(view) {
  box = view;
  const st = Math.sin(camera.turn), ct = Math.cos(camera.turn), se = Math.sin(camera.tilt), ce = Math.cos(camera.tilt);
  eye = { right: [-st, ct, 0], up: [-ct * se, -st * se, ce], back: [ct * ce, st * ce, se], focal: 1.55 * Math.min(box.h, box.w * .75) };
}
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
function project(x, y, z) {
  const d = [x - camera.x - camera.pan[0], y - camera.y - camera.pan[1], z - camera.z - camera.pan[2]];
  const depth = camera.far * camera.zoom - dot(d, eye.back), s = eye.focal / Math.max(depth, .2);
  return [box.x + box.w / 2 + s * dot(d, eye.right), box.y + box.h * .52 - s * dot(d, eye.up), depth, s];
}

const EDGE = .86; // of half the picture: what is to be seen stays within
function distanceFor(points, centre) { // how far the eye must be to see them all
  let far = D.view.far;
  for (const p of points) {
    const d = [p[0] - centre[0], p[1] - centre[1], p[2] - centre[2]], back = dot(d, eye.back);
    far = Math.max(far, back + Math.abs(dot(d, eye.right)) * eye.focal / (EDGE * box.w / 2), back + Math.abs(dot(d, eye.up)) * eye.focal / (EDGE * box.h * .46));
  }
  return Math.min(far, 30);
}

function floor() {
  g.lineWidth = 1; g.strokeStyle = css.floor;
  const cx = Math.round(camera.x), cy = Math.round(camera.y), N = Math.round(Math.max(7, camera.far * camera.zoom));
  for (let i = -N; i <= N; i++) for (const [fx, fy] of [[1, 0], [0, 1]]) for (let j = -N; j < N; j++) {
    const x0 = cx + (fx ? j : i), y0 = cy + (fy ? j : i), x1 = x0 + fx, y1 = y0 + fy;
    const away = Math.hypot((x0 + x1) / 2 - camera.x, (y0 + y1) / 2 - camera.y) / N;
    if (away > 1) continue;
    const a = project(x0, y0, 0), b = project(x1, y1, 0);
    if (a[2] < .3 || b[2] < .3) continue;
    g.globalAlpha = (1 - away) * .9; g.beginPath(); g.moveTo(a[0], a[1]); g.lineTo(b[0], b[1]); g.stroke();
  }
  g.globalAlpha = 1;
}
function shadow(q) {
  const a = project(q[0], q[1], 0), e = project(q[0] + .34 * eye.right[0], q[1] + .34 * eye.right[1], 0);
  g.fillStyle = css.shadow; g.beginPath(); g.ellipse(a[0], a[1], Math.abs(e[0] - a[0]), Math.abs(e[0] - a[0]) * Math.sin(camera.tilt) * .9 + 1, 0, 0, 7); g.fill();
}
const RADIUS = D.radii;
function body(q, colour, solid, alpha) {
  const at = [], shades = solid && colour.startsWith('#');
  for (let j = 0; j < J; j++) at.push(project(q[3 * j], q[3 * j + 1], q[3 * j + 2]));
  g.lineCap = g.lineJoin = 'round'; g.strokeStyle = g.fillStyle = colour; g.globalAlpha = alpha;
  if (solid) {
    g.beginPath(); for (const j of [11, 14, 1, 4]) g.lineTo(at[j][0], at[j][1]); g.closePath(); g.lineWidth = at[8][3] * .07; g.fill(); g.stroke();
  }
  const order = D.bones.map((b, i) => [at[b[0]][2] + at[b[1]][2], i]).sort((a, b) => b[0] - a[0]);
  for (const [, i] of order) {
    const [a, b] = D.bones[i];
    if (a === 10 && solid) continue;
    if (solid && shades) g.strokeStyle = mix(colour, css.card, Math.max(0, Math.min(.34, .17 + .6 * ((at[a][2] + at[b][2]) / 2 - at[8][2]))));
    g.lineWidth = solid ? Math.max(1.5, 2 * RADIUS[i] * at[a][3]) : 1.6;
    g.beginPath(); g.moveTo(at[a][0], at[a][1]); g.lineTo(at[b][0], at[b][1]); g.stroke();
  }
  const n = at[9], h = at[10];
  g.beginPath(); g.arc((n[0] + h[0]) / 2, (n[1] + h[1]) / 2, .095 * h[3], 0, 7);
  if (solid) g.fill(); else { g.lineWidth = 1.6; g.stroke(); }
  g.globalAlpha = 1;
}
const TRAILS = [0, 10, 13, 16, 3, 6];
const pose = new Float32Array(J * 3), real = new Float32Array(J * 3);
function trails(run, row, from, to) {
  g.lineCap = 'round'; g.strokeStyle = css.sample; g.lineWidth = 1.3;
  const count = 20, lines = TRAILS.map(() => []);
  for (let s = 0; s < run.samples; s++) {
    lines.forEach(l => l.length = 0);
    for (let i = 0; i <= count; i++) {
      futurePose(run, row, s, from + (to - from) * i / count, pose);
      TRAILS.forEach((j, n) => lines[n].push(project(pose[3 * j], pose[3 * j + 1], pose[3 * j + 2])));
    }
    for (const line of lines) for (let i = 1; i < line.length; i++) {
      g.globalAlpha = .42 * (1 - .75 * i / count);
      g.beginPath(); g.moveTo(line[i - 1][0], line[i - 1][1]); g.lineTo(line[i][0], line[i][1]); g.stroke();
    }
  }
  g.globalAlpha = 1;
}
function trace(person, from, to, colour, dash, alpha) { // where real joints were or will be
  g.strokeStyle = colour; g.lineWidth = 1.8; g.setLineDash(dash); g.lineCap = 'butt'; g.globalAlpha = alpha;
  for (const j of TRAILS) {
    g.beginPath();
    for (let i = 0; i <= 24; i++) {
      realPose(from + (to - from) * i / 24, person, real);
      const q = project(real[3 * j], real[3 * j + 1], real[3 * j + 2]);
      if (i) g.lineTo(q[0], q[1]); else g.moveTo(q[0], q[1]);
    }
    g.stroke();
  }
  g.setLineDash([]); g.globalAlpha = 1;
}

/* --- layers -------------------------------------------------------------------------------- */
const SIGMAS = 2.5; // three normal coordinates lie within in 90 % of all cases
function ellipsoids(run, row, tau) {
  const marks = run.ellipsoids.marks, M = marks.length, r = run.rows[row];
  realPose(r.t, r.p, real);
  let i = -1; while (i < M - 2 && marks[i + 1] < tau) i++;
  const from = i < 0 ? 0 : marks[i], u = Math.max(0, Math.min(1, (tau - from) / (marks[i + 1] - from)));
  g.fillStyle = g.strokeStyle = css.sample; g.lineWidth = 1.2;
  for (let j = 0; j < J; j++) {
    const at = (m, k) => m < 0 ? (k < 3 ? real[3 * j + k] : 0) : run.spread[((row * M + m) * J + j) * 9 + k] / 1000 + (k < 3 ? r.o[k] : 0);
    const v = k => at(i, k) * (1 - u) + at(i + 1, k) * u;
    const [x, y, , s] = project(v(0), v(1), v(2));
    const along = e => [v(3) * e[0] + v(4) * e[1] + v(6) * e[2], v(5) * e[1] + v(7) * e[2], v(8) * e[2]]; // the factor, transposed
    const a = along(eye.right), b = along(eye.up), aa = dot(a, a), bb = dot(b, b), ab = -dot(a, b);
    const mean = (aa + bb) / 2, half = Math.hypot((aa - bb) / 2, ab);
    g.beginPath();
    g.ellipse(x, y, SIGMAS * s * Math.sqrt(mean + half) + .5, SIGMAS * s * Math.sqrt(Math.max(mean - half, 0)) + .5, .5 * Math.atan2(2 * ab, aa - bb), 0, 7);
    g.globalAlpha = .13; g.fill(); g.globalAlpha = .75; g.stroke();
  }
  g.globalAlpha = 1;
}
function occupancy(run, row, tau) {
  const { m, bins, first } = run.voxels, origin = run.rows[row].o;
  if (!first.length) return;
  const bin = Math.max(0, Math.min(bins - 1, Math.ceil(tau * bins / (bins * .5) - 1e-6) - 1));
  g.fillStyle = css.likely;
  for (let v = first[row * bins + bin]; v < first[row * bins + bin + 1]; v++) {
    const at = k => origin[k] + (run.touched[4 * v + k] - 127.5) * m;
    const [x, y, , s] = project(at(0), at(1), at(2)), size = .82 * m * s;
    g.globalAlpha = .05 + .2 * run.touched[4 * v + 3] / 255;
    g.fillRect(x - size / 2, y - size / 2, size, size);
  }
  g.globalAlpha = 1;
}

/* --- one run in its part of the picture ------------------------------------------------------ */
function drawLive(run, rows, tau) {
  for (const row of rows) if (tau < horizon) {
    const ahead = [.5, 1, 1.5, 2].filter(lead => lead > tau + .05 && lead <= horizon + 1e-6);
    if (layers.occupancy) occupancy(run, row, Math.min(1, horizon));
    for (const lead of ahead.reverse()) body(futurePose(run, row, 0, lead, pose), mix(css.card, css.likely, .62 - .22 * lead), true, 1);
    if (layers.samples) trails(run, row, Math.max(tau, 0), horizon);
    if (layers.ellipsoids) ellipsoids(run, row, Math.min(1, horizon));
  }
  for (let p = 0; p < P; p++) {
    const faint = chosen === null || p === chosen ? 1 : .25;
    trace(p, Math.max(0, now - .5), now, css.soft, [], faint);
    trace(p, now, Math.min(end, now + horizon), css.real, [2, 4], faint);
    body(realPose(now, p, real), css.real, true, faint);
  }
}
function drawUnrolled(run, rows, tau) {
  const shown = Math.min(tau, horizon);
  for (const row of rows) if (tau > 0) {
    if (layers.occupancy) occupancy(run, row, shown);
    if (layers.samples) {
      trails(run, row, shown - Math.min(shown, .5), shown);
      for (let s = 1; s < run.samples; s++) body(futurePose(run, row, s, shown, pose), css.sample, false, .5);
    }
  }
  for (let p = 0; p < P; p++) {
    const faint = chosen === null || p === chosen ? 1 : .25;
    body(realPose(now, p, real), tau > 0 ? css.real : mix(css.card, css.real, .8), true, faint * (tau > 0 ? .9 : 1));
  }
  for (const row of rows) if (tau > 0) {
    if (layers.ellipsoids) ellipsoids(run, row, shown);
    body(futurePose(run, row, 0, shown, pose), css.likely, false, 1);
  }
}
