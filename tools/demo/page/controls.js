/* --- time, modes, and what is in view -------------------------------------------------------- */
const start = new URLSearchParams(location.search);
const calm = matchMedia('(prefers-reduced-motion: reduce)').matches; // then nothing moves unasked
const layers = { samples: true, ellipsoids: start.has('ellipsoids'), occupancy: start.has('occupancy') };
const first = D.runs[0], anchors = first.anchors, LEAD_S = .5, REST_S = .3;
const unrollable = anchors.filter(a => a + horizon <= end);
let mode = 'live', playing = !calm && !start.has('t'), anchorIndex = 0, dragging = false, chosen = null, last = performance.now(), awakeUntil = 0;
let now = start.has('t') ? +start.get('t') : calm ? end / 2 : 0;

function heldIn(run) { // the stamp of the prediction of this run that is shown, or null
  const list = run.anchors;
  if (mode === 'unroll') {
    if (!list.length) return null;
    const at = anchors.length ? anchors[Math.min(anchorIndex, anchors.length - 1)] : list[0];
    return list[before(list, at + .1)];
  }
  return list.length && list[0] <= now ? list[before(list, now)] : null;
}
function rowsIn(run, held) {
  return held === null ? [] : run.byStamp.get(held).filter(i => chosen === null || run.rows[i].p === chosen);
}
function toAnchor(t) {
  const latest = unrollable.length ? unrollable[unrollable.length - 1] : t;
  anchorIndex = anchors.length ? before(anchors, Math.min(t, latest)) : 0;
}
function nextAnchor() {
  const next = anchors[anchorIndex] + 1;
  toAnchor(next > (unrollable[unrollable.length - 1] ?? 0) ? 0 : next);
  now = Math.max(0, anchors[anchorIndex] - LEAD_S);
}
function setMode(name) {
  mode = name; toAnchor(now);
  if (mode === 'unroll' && anchors.length) now = playing ? Math.max(0, anchors[anchorIndex] - LEAD_S) : Math.min(end, anchors[anchorIndex] + Math.min(1, horizon));
  $('mode-live').setAttribute('aria-pressed', name === 'live'); $('mode-unroll').setAttribute('aria-pressed', name === 'unroll');
}
function setPlaying(on) { playing = on; $('play').textContent = on ? 'Pause' : 'Play'; }
function setLayer(name, on) { layers[name] = on; $('layer-' + name).setAttribute('aria-pressed', on); }
function setPerson(who) { chosen = who; $('person').value = who === null ? '' : who; }
function seek(t) { // in Unroll the prediction is held as long as its future lasts
  now = Math.max(0, Math.min(end, t));
  const held = anchors[anchorIndex];
  if (mode !== 'unroll' || now < held - LEAD_S - 1e-6 || now > held + horizon + REST_S) toAnchor(now);
}

function inView() { // points that are to stay in the picture: [x, y, z] each
  const points = [], add = q => { for (const j of TRAILS) if (q[3 * j] === q[3 * j]) points.push([q[3 * j], q[3 * j + 1], q[3 * j + 2]]); };
  for (let p = 0; p < P; p++) if (chosen === null || p === chosen) add(realPose(now, p, real));
  for (const run of D.runs) {
    const held = heldIn(run);
    for (const row of rowsIn(run, held)) {
      const tau = Math.min(Math.max(now - held, 0), horizon);
      if (mode === 'live') { if (now - held < horizon) add(futurePose(run, row, 0, horizon, pose)); continue; }
      for (let s = 0; s < run.samples; s++) add(futurePose(run, row, s, tau, pose));
    }
  }
  return points;
}
function follow(blend) {
  const points = inView();
  if (!points.length) return;
  const low = [0, 1, 2].map(k => Math.min(...points.map(p => p[k]))), high = [0, 1, 2].map(k => Math.max(...points.map(p => p[k])));
  const centre = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, Math.max(.55, Math.min(1.1, (low[2] + high[2]) / 2))];
  aim(boxOf(0));
  camera.x += (centre[0] - camera.x) * blend; camera.y += (centre[1] - camera.y) * blend; camera.z += (centre[2] - camera.z) * blend;
  const far = distanceFor(points, [camera.x, camera.y, camera.z]);
  camera.far = far > camera.far ? far : camera.far + (far - camera.far) * blend; // never too near
}

/* --- the error at the moment shown ----------------------------------------------------------- */
const other = new Float32Array(J * 3);
function errorsAt(run, held, t) { // centimetres, of the people shown; null where it is not scored
  if (held === null || t > end || t - held > horizon + 1e-6 || !isReal(t, held - .5)) return null;
  const sums = [0, 0, 0], rows = rowsIn(run, held), tau = t - held;
  if (!rows.length || tau <= 0) return null;
  for (const row of rows) {
    const p = run.rows[row].p;
    realPose(t, p, real);
    [futurePose(run, row, 0, tau, other), null, null].forEach((q, i) => {
      if (i === 1) q = realPose(held, p, other);
      if (i === 2) q = dampedPose(held, p, tau, other);
      sums[i] += 100 * apart(q, real) / rows.length;
    });
  }
  return { ours: sums[0], still: sums[1], damped: sums[2] };
}
function badge() { // [what is shown, [error words, figure, beside]]
  const held = heldIn(first), tau = held === null ? 0 : now - held;
  if (mode === 'live') {
    const said = first.anchors.length && first.anchors[0] <= now - 1 ? first.anchors[before(first.anchors, now - 1 + 1e-6)] : null;
    const words = held !== null && tau < horizon ? 'the next ' + (horizon - tau).toFixed(1) + ' s, as predicted ' + (tau < .25 ? 'now' : tau.toFixed(1) + ' s ago') : 'watching';
    return [words, said, said === null ? '' : 'said ' + (now - said).toFixed(1) + ' s ago for now'];
  }
  return tau > 0 ? ['+' + tau.toFixed(1) + ' s after the prediction was made', held, 'expected future'] : ['what the predictor sees', null, ''];
}
function badgeLines() {
  const [words, held, what] = badge(), lines = [words];
  if (held === null) return lines;
  const nearest = run => run.anchors.length ? run.anchors[before(run.anchors, held + .1)] : null;
  const found = D.runs.map(run => errorsAt(run, nearest(run), now));
  if (!found[0]) { if (!isReal(now, held - .5)) lines.push('made up here, or behind a splice: not scored'); return lines; }
  found.forEach((e, i) => { if (e) lines.push(what + (D.runs.length > 1 ? ' (' + D.runs[i].name + ')' : '') + ': ' + e.ours.toFixed(1) + ' cm a joint off'); });
  lines.push('standing still ' + found[0].still.toFixed(1) + ', damped velocity ' + found[0].damped.toFixed(1));
  return lines;
}

function draw() {
  g.globalAlpha = 1; g.fillStyle = css.card; g.fillRect(0, 0, W, H);
  D.runs.forEach((run, i) => {
    g.save(); aim(boxOf(i)); g.beginPath(); g.rect(box.x, box.y, box.w, box.h); g.clip();
    floor();
    const held = heldIn(run), rows = rowsIn(run, held), tau = held === null ? 0 : now - held;
    for (let p = 0; p < P; p++) shadow(realPose(now, p, real));
    if (mode === 'live') drawLive(run, rows, tau); else drawUnrolled(run, rows, tau);
    if (i) { g.strokeStyle = css.line; g.lineWidth = 1; g.strokeRect(box.x - .5, box.y - .5, box.w + 2, box.h + 2); }
    g.restore();
  });
  const lines = badgeLines();
  $('badge').replaceChildren(...lines.map((text, i) => element('div', text, i && text.includes(' off') ? 'ours' : '')));
  if (recorder) caption(g, lines);
  if (nowLine) { const at = nowX(Math.min(now, D.running.at[D.running.at.length - 1])); nowLine.setAttribute('x1', at); nowLine.setAttribute('x2', at); nowLine.setAttribute('visibility', 'visible'); }
  $('clock').textContent = now.toFixed(1) + ' / ' + end.toFixed(1) + ' s';
  if (!dragging) $('time').value = Math.round(1000 * now / end);
}
function tick(instant) {
  const wall = Math.min(.1, (instant - last) / 1000), passed = wall * +$('speed').value; last = instant;
  if (playing) {
    now += passed;
    if (mode === 'unroll' && anchors.length && now > anchors[anchorIndex] + horizon + REST_S) nextAnchor();
    if (now > end) { now = 0; toAnchor(0); follow(1); }
  }
  if (playing || instant < awakeUntil) { follow(calm ? 1 : 1 - Math.exp(-wall * 5)); draw(); }
  requestAnimationFrame(tick);
}
function resize() {
  const ratio = devicePixelRatio || 1; W = canvas.clientWidth; H = canvas.clientHeight;
  $('names').classList.toggle('stacked', W <= 700);
  canvas.width = Math.round(W * ratio); canvas.height = Math.round(H * ratio); g.setTransform(ratio, 0, 0, ratio, 0, 0);
  follow(1); draw();
}

/* --- saving ---------------------------------------------------------------------------------- */
const CLIP_S = 6, CLIP_TYPES = ['video/webm;codecs=vp9', 'video/webm;codecs=vp8', 'video/webm'];
let recorder = null;
function save(blob, ending) {
  const link = element('a'); link.href = URL.createObjectURL(blob);
  link.download = 'motion_predictor_' + now.toFixed(1) + 's.' + ending; link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
function caption(to, lines) {
  to.globalAlpha = 1; to.textBaseline = 'top'; to.textAlign = 'left';
  lines.forEach((text, i) => { to.font = (i ? '' : '600 ') + '14px system-ui, sans-serif'; to.fillStyle = i && text.includes(' off') ? css.likely : css.ink; to.fillText(text, 16, 12 + 20 * i); });
}
function savePicture() {
  draw();
  const ratio = devicePixelRatio || 1, foot = 34, made = element('canvas'), to = made.getContext('2d');
  made.width = canvas.width; made.height = canvas.height + Math.round(foot * ratio);
  to.fillStyle = css.card; to.fillRect(0, 0, made.width, made.height); to.drawImage(canvas, 0, 0);
  to.setTransform(ratio, 0, 0, ratio, 0, 0);
  caption(to, badgeLines());
  let x = 16; to.font = '12px system-ui, sans-serif';
  for (const [name, colour] of [['real person', css.real], ['futures', css.sample], ['expected future', css.likely]]) {
    to.fillStyle = colour; to.fillRect(x, H + 16, 16, 4); to.fillStyle = css.soft; to.fillText(name, x + 22, H + 11);
    x += 40 + to.measureText(name).width;
  }
  to.textAlign = 'right'; if (W > 420) to.fillText('motion_predictor, ' + first.name, W - 16, H + 11);
  made.toBlob(blob => save(blob, 'png'), 'image/png');
}
function saveClip() {
  if (recorder) { recorder.stop(); return; }
  const type = CLIP_TYPES.find(t => MediaRecorder.isTypeSupported(t)), parts = [];
  const stream = canvas.captureStream(30), button = $('save-clip');
  recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 4e6 });
  recorder.ondataavailable = e => parts.push(e.data);
  recorder.onstop = () => { recorder = null; clearTimeout(limit); button.textContent = 'Clip'; stream.getTracks().forEach(t => t.stop()); save(new Blob(parts, { type: 'video/webm' }), 'webm'); };
  button.textContent = 'Stop';
  const limit = setTimeout(() => recorder && recorder.stop(), 1000 * CLIP_S);
  recorder.start(); setPlaying(true);
}

function wake() { awakeUntil = performance.now() + 1000; } // draws for a while although nothing plays

/* --- buttons, keys, mouse and touch ------------------------------------------------------------ */
$('play').onclick = () => setPlaying(!playing);
$('mode-live').onclick = () => setMode('live');
$('mode-unroll').onclick = () => { if (!calm) setPlaying(true); setMode('unroll'); };
for (const name of Object.keys(layers)) $('layer-' + name).onclick = () => setLayer(name, !layers[name]);
$('time').oninput = e => { dragging = true; seek(e.target.value / 1000 * end); };
$('time').onchange = () => { dragging = false; };
$('theme').onclick = () => { setTheme(theme === 'dark' ? 'light' : 'dark'); draw(); };
$('help-button').onclick = () => $('help').showModal();
$('save-picture').onclick = savePicture;
$('save-clip').onclick = saveClip;
$('save-clip').hidden = !window.MediaRecorder || !canvas.captureStream || !CLIP_TYPES.some(t => MediaRecorder.isTypeSupported(t));
$('layer-occupancy').disabled = !first.voxels.first.length;
if (P > 1) {
  $('person').hidden = false;
  $('person').append(element('option', 'everybody'));
  $('person').lastChild.value = '';
  for (let p = 0; p < P; p++) { $('person').append(element('option', 'person ' + p)); $('person').lastChild.value = p; }
  $('person').onchange = e => setPerson(e.target.value === '' ? null : +e.target.value);
}
if (D.runs.length > 1) { $('stage').classList.add('two'); $('names').hidden = false; $('names').append(...D.runs.map(run => element('span', run.name))); }
const zoom = by => { camera.zoom = Math.max(.3, Math.min(4, camera.zoom * by)); };
function step(by) { setPlaying(false); seek(now + by); follow(1); }
function home() { Object.assign(camera, { turn: D.view.turn, tilt: .28, zoom: 1, pan: [0, 0, 0] }); now = 0; toAnchor(0); follow(1); }
const KEYS = {
  ' ': () => setPlaying(!playing), ArrowRight: e => step(e.shiftKey ? 1 : .1), ArrowLeft: e => step(e.shiftKey ? -1 : -.1),
  l: () => setMode('live'), u: () => $('mode-unroll').onclick(), s: () => $('layer-samples').click(), e: () => $('layer-ellipsoids').click(),
  o: () => $('layer-occupancy').click(), Home: home, '+': () => zoom(.9), '-': () => zoom(1 / .9), '?': () => $('help').showModal(),
};
addEventListener('keydown', e => {
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key, on = e.target.tagName;
  if (!KEYS[key] || e.ctrlKey || e.metaKey || e.altKey || $('help').open) return;
  if (on === 'SELECT' || (on === 'BUTTON' && key === ' ') || (on === 'INPUT' && key !== '?' && key.length > 1)) return;
  e.preventDefault(); KEYS[key](e);
});
const pointers = new Map(); // id -> [x, y]
let travelled = 0;
function pan(dx, dy) {
  const s = eye.focal / (camera.far * camera.zoom);
  for (let k = 0; k < 3; k++) camera.pan[k] -= (dx * eye.right[k] - dy * eye.up[k]) / s;
}
function pick(x, y) {
  let best = 40, who = null;
  D.runs.forEach((_, i) => {
    aim(boxOf(i));
    for (let p = 0; p < P; p++) {
      realPose(now, p, real);
      for (let j = 0; j < J; j++) { const q = project(real[3 * j], real[3 * j + 1], real[3 * j + 2]), d = Math.hypot(q[0] - x, q[1] - y); if (d < best) { best = d; who = p; } }
    }
  });
  setPerson(who);
}
canvas.onpointerdown = e => { if (!pointers.size) travelled = 0; pointers.set(e.pointerId, [e.clientX, e.clientY]); canvas.setPointerCapture(e.pointerId); };
canvas.onpointerup = e => {
  if (pointers.delete(e.pointerId) && !pointers.size && travelled < 6 && P > 1) { const at = canvas.getBoundingClientRect(); pick(e.clientX - at.x, e.clientY - at.y); }
};
canvas.onpointercancel = e => { pointers.delete(e.pointerId); travelled = 99; };
canvas.onpointermove = e => {
  const from = pointers.get(e.pointerId);
  if (!from) return;
  const dx = e.clientX - from[0], dy = e.clientY - from[1];
  travelled += Math.abs(dx) + Math.abs(dy);
  if (pointers.size === 2) { // two fingers: each moves half of it
    const [id] = [...pointers.keys()].filter(k => k !== e.pointerId), still = pointers.get(id);
    const was = Math.hypot(from[0] - still[0], from[1] - still[1]), is = Math.hypot(e.clientX - still[0], e.clientY - still[1]);
    if (was > 1 && is > 1) zoom(was / is);
    pan(dx / 2, dy / 2);
  } else if (e.shiftKey || e.buttons & 6) pan(dx, dy);
  else { camera.turn -= dx * .008; camera.tilt = Math.max(.02, Math.min(1.5, camera.tilt + dy * .006)); }
  pointers.set(e.pointerId, [e.clientX, e.clientY]);
};
for (const kind of ['touchstart', 'touchmove']) canvas.addEventListener(kind, e => { if (e.touches.length > 1) e.preventDefault(); }, { passive: false });
canvas.oncontextmenu = e => e.preventDefault();
canvas.addEventListener('wheel', e => { if (document.activeElement === canvas || e.ctrlKey) { e.preventDefault(); zoom(Math.exp(e.deltaY * .001)); } }, { passive: false });
for (const kind of ['pointerdown', 'pointermove', 'keydown', 'input', 'click', 'change', 'wheel']) addEventListener(kind, wake, { capture: true, passive: true });
new ResizeObserver(() => { resize(); wake(); }).observe(canvas);

setTheme(start.get('theme') || theme);
for (const name of Object.keys(layers)) setLayer(name, layers[name]);
toAnchor(+(start.get('anchor') || now)); const shownAt = now; setMode(start.get('mode') === 'unroll' ? 'unroll' : 'live');
if (start.has('t')) { now = shownAt; toAnchor(+(start.get('anchor') || now)); }
setPlaying(playing); resize(); wake(); requestAnimationFrame(tick);
