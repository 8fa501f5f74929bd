'use strict';
/* --- the data, and poses between its frames ------------------------------------------------ */
const D = JSON.parse(document.getElementById('data').textContent);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
const poses = new Float32Array(bytes(D.poses)); // frames x people x J x 3, metres
const J = D.joints, P = D.people, T = D.times.length, stamps = D.stamps;
const end = stamps[stamps.length - 1], horizon = D.times[T - 1];
const $ = id => document.getElementById(id);
for (const run of D.runs) {
  run.values = new Int16Array(bytes(run.futures)); // rows x samples x steps x J x 3, mm from origin
  run.spread = new Int16Array(bytes(run.ellipsoids.mm)); // rows x marks x J x 9, mm
  run.touched = new Uint8Array(bytes(run.voxels.bytes)); // voxels x 4
  run.anchors = [...new Set(run.rows.map(r => r.t))].sort((a, b) => a - b);
  run.byStamp = new Map(run.anchors.map(t => [t, []]));
  run.rows.forEach((r, i) => run.byStamp.get(r.t).push(i));
}

function before(list, t) { // the last entry that is not after t
  let a = 0, b = list.length - 1;
  while (a < b) { const m = (a + b + 1) >> 1; if (list[m] <= t) a = m; else b = m - 1; }
  return a;
}

function realPose(t, person, out) {
  const i = Math.max(0, Math.min(before(stamps, t), stamps.length - 2));
  const u = Math.max(0, Math.min(1, (t - stamps[i]) / (stamps[i + 1] - stamps[i])));
  const a = (i * P + person) * J * 3, b = a + P * J * 3;
  for (let k = 0; k < J * 3; k++) out[k] = poses[a + k] * (1 - u) + poses[b + k] * u;
  return out;
}

const scratch = new Float32Array(J * 3);
function futurePose(run, row, sample, tau, out) { // Catmull-Rom through the steps, from the real pose
  const r = run.rows[row], at = D.times, anchor = realPose(r.t, r.p, scratch), S = run.samples;
  const value = (i, k) => i < 0 ? anchor[k] : run.values[((row * S + sample) * T + Math.min(i, T - 1)) * J * 3 + k] / 1000 + r.o[k % 3];
  const grid = i => i < 0 ? 0 : at[i];
  let i = -1; while (i < T - 2 && at[i + 1] < tau) i++;
  const u = Math.max(0, Math.min(1, (tau - grid(i)) / (grid(i + 1) - grid(i))));
  for (let k = 0; k < J * 3; k++) {
    const b = value(i, k), c = value(i + 1, k), a = i < 0 ? b : value(i - 1, k), d = value(i + 2, k);
    out[k] = b + .5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)));
  }
  return out;
}

const earlier = new Float32Array(J * 3);
function dampedPose(t, person, tau, out) { // the velocity of late comes to rest
  const [damping, over] = D.damping;
  realPose(t, person, out); realPose(t - over, person, earlier);
  const on = damping * (1 - Math.exp(-tau / damping)) / over;
  for (let k = 0; k < J * 3; k++) out[k] += on * (out[k] - earlier[k]);
  return out;
}

function apart(a, b) { // mean over the joints that are there, metres
  let sum = 0, count = 0;
  for (let k = 0; k < J * 3; k += 3) {
    const d = Math.hypot(a[k] - b[k], a[k + 1] - b[k + 1], a[k + 2] - b[k + 2]);
    if (d === d) { sum += d; count++; }
  }
  return count ? sum / count : NaN;
}

/* Made-up frames are never scored, nor what comes after a splice of two motions. */
const SPLICE_S = .1;
function isReal(t, observedFrom) {
  return D.madeUp.every(([a, b]) => (t < a || t > b) && (b - a <= SPLICE_S || b < observedFrom || a > t));
}
