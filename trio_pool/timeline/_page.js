// The chart of a timeline. All times are in whole microseconds since its beginning.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const data = JSON.parse(byId("data").textContent);
  const scroller = byId("scroller"), canvas = byId("canvas"), tip = byId("tip");
  const paper = canvas.getContext("2d");
  const AXIS = 28, HEAD = 26, PADDING = 4, MARGIN = 14;
  const FONT = "12px system-ui, sans-serif";

  // The content: tracks one below the other, with items in lanes; items in one lane don't overlap.

  const makeTrack = (pool, label, start, end, laneHeight) =>
    ({ pool, label, start, end: end ?? data.end, left: end !== null, laneHeight, lanes: [], holds: [] });
  const workers = data.rows.map(([pool, label, start, end]) => makeTrack(pool, label, start, end, 20));
  const waiting = data.pools.map((_, pool) => makeTrack(pool, "backing off", 0, null, 6));
  const bands = data.pools.map((_, pool) => makeTrack(pool, "groups", 0, null, 16));
  const further = [...bands, ...waiting];
  const jobs = data.jobs.map(([id, name]) => ({ id, name, items: [] }));

  const addToLane = (item) => {
    (item.track.lanes[item.lane] ??= []).push(item);
    item.job?.items.push(item);
    return item;
  };
  const attempts = data.attempts.map((
    [row, lane, outcome, start, end, open, until, text, job, number, hedges, progress],
  ) =>
    addToLane({
      kind: data.outcomes[outcome], track: workers[row], lane, start, end, open, text, job: jobs[job], number, hedges,
      progress,
    }));
  const delays = data.delays.map(([pool, lane, start, end, open, until, text, job, number]) =>
    addToLane({ kind: "delay", track: waiting[pool], lane, start, end, open, until, job: jobs[job], number }));
  const groups = data.groups.map(([pool, lane, start, end, open, until, members, name]) =>
    addToLane({ kind: "group", track: bands[pool], lane, start, end, open, members, name }));
  const holds = data.holds.map(([row, hindrance, start, end, open, until, text]) => {
    const item = { kind: data.hindrances[hindrance], track: workers[row], start, end, open, until, text };
    item.track.holds.push(item);
    return item;
  });
  const byStart = (one, other) => one.start - other.start;
  for (const job of jobs) job.items.sort(byStart);
  for (const attempt of attempts) attempt.badness = 1 + ["failed", "dead"].indexOf(attempt.kind);
  const isFailure = ({ badness }) => badness > 0;
  const failures = attempts.filter(isFailure).sort(byStart);

  const tracks = data.pools.flatMap((label, pool) => [
    ...(data.pools.length > 1 ? [{ label, isHead: true, lanes: [], holds: [] }] : []),
    ...bands.filter((track) => track.pool === pool && track.lanes.length),
    ...workers.filter((track) => track.pool === pool),
    ...waiting.filter((track) => track.pool === pool && track.lanes.length),
  ]);
  let bottom = AXIS + PADDING;
  for (const track of tracks) {
    // If very many groups are open or jobs back off at once, their lanes share a fixed height.
    if (track.lanes.length > 20) track.laneHeight = Math.max(1, 120 / track.lanes.length);
    track.top = bottom;
    track.height = track.isHead ? HEAD : Math.max(1, track.lanes.length) * track.laneHeight + 2 * PADDING;
    bottom += track.height + 2;
  }

  // Text.

  function duration(time) {
    if (time < 1e3) return time > 0 ? `${Math.round(time)} \u00b5s` : "0 s";
    if (time < 1e6) return `${(time / 1e3).toFixed(time < 1e5 ? 2 : 1)} ms`;
    if (time < 6e7) return `${(time / 1e6).toFixed(3)} s`;
    const tenths = Math.round(time / 1e5), [hours, minutes] = [Math.floor(tenths / 36000), Math.floor((tenths / 600) % 60)];
    if (hours) return minutes ? `${grouped(hours)} h ${minutes} min` : `${grouped(hours)} h`;
    return tenths % 600 ? `${minutes} min ${((tenths % 600) / 10).toFixed(1)} s` : `${minutes} min`;
  }
  const grouped = (number) => number.toLocaleString("en");
  const counted = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;

  /** The title and the lines of an item's tooltip. */
  function describeItem({ kind, track, job, name, number, hedges, start, end, open, until, text, members, progress }) {
    const isDelay = kind === "delay", place = data.pools.length > 1 ? ` in ${data.pools[track.pool]}` : "";
    return [name ?? job?.name ?? kind, [
      ["job", job && job.id],
      ["jobs", members],
      ["worker", workers.includes(track) && track.label + place],
      ["attempt", hedges && `${number}, ${kind === "dead" ? "failed for good" : kind}`],
      ["backs off", isDelay && `after attempt ${number}`],
      ["hedged by", hedges && hedges.join(", ")],
      [open ? "so far" : "took", duration(end - start)],
      ["began at", duration(start)],
      ["until", open && until && duration(until)],
      ["progress", progress],
      ["error", text],
    ]];
  }
  /** The title and the lines of a worker's tooltip. */
  function describeWorker({ label, start, end, left, lanes }) {
    const own = lanes.flat(), busy = own.reduce((sum, item) => sum + item.end - item.start, 0);
    return [label, [
      ["attempts", `${grouped(own.length)}, ${grouped(own.filter(isFailure).length)} of them failed`],
      ["busy", `${duration(busy)}, ${((100 * busy) / Math.max(1, end - start)).toFixed(0)} % of its time`],
      ["came at", duration(start)],
      ["left at", left && duration(end)],
    ]];
  }

  // The view.

  const whole = Math.max(100, data.end * 1.02);
  const view = { from: 0, to: whole };
  const size = { width: 0, height: 0, gutter: 0 };
  let hovered = null, colors = {}, hatches = {}, requested = 0;

  const scale = () => (size.width - size.gutter - MARGIN) / (view.to - view.from);
  const xOf = (time) => size.gutter + (time - view.from) * scale();
  const timeAt = (x) => view.from + (x - size.gutter) / scale();
  const yOf = ({ track, lane = 0 }) => track.top + PADDING + lane * track.laneHeight - scroller.scrollTop;

  function show(from, to) {
    const length = Math.min(Math.max(to - from, 10), whole), slack = length * 0.01;
    view.from = Math.max(-slack, Math.min(from, data.end + slack - length));
    view.to = view.from + length;
    byId("range").textContent = `${duration(view.from)} to ${duration(Math.min(data.end, view.to))}`;
    redraw();
  }
  function zoom(factor, at = (view.from + view.to) / 2) {
    show(at - (at - view.from) * factor, at + (view.to - at) * factor);
  }
  function pan(share) {
    const step = (view.to - view.from) * share;
    show(view.from + step, view.to + step);
  }

  // Drawing.

  function readColors() {
    const style = getComputedStyle(document.documentElement);
    const names = ["page", "row", "line", "text", "quiet", "on-bar", "delay", "group", ...data.outcomes, ...data.hindrances];
    colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name.replace(" ", "-")}`)]));
    hatches = Object.fromEntries(["running", ...data.hindrances].map((name) => [name, hatch(colors[name])]));
    redraw();
  }
  function hatch(color) {
    const tile = make("canvas", { width: 16, height: 16 }), pen = tile.getContext("2d");
    pen.strokeStyle = color;
    pen.lineWidth = 2;
    for (const shift of [-16, 0, 16]) {
      pen.moveTo(shift - 2, 18);
      pen.lineTo(shift + 18, -2);
    }
    pen.stroke();
    const pattern = paper.createPattern(tile, "repeat");
    pattern.setTransform(new DOMMatrix().scale(0.5)); // stays sharp on high-resolution screens
    return pattern;
  }

  function redraw() {
    requested ||= requestAnimationFrame(draw);
  }
  function draw() {
    requested = 0;
    const ratio = devicePixelRatio || 1;
    paper.setTransform(ratio, 0, 0, ratio, 0, 0);
    paper.font = FONT;
    paper.textBaseline = "middle";
    paper.fillStyle = colors.page;
    paper.fillRect(0, 0, size.width, size.height);
    const above = scroller.scrollTop, marks = findMarks();
    const visible = tracks.filter(({ top, height }) => top + height > above + AXIS && top < above + size.height);

    paper.save();
    paper.beginPath();
    paper.rect(size.gutter, AXIS, size.width - size.gutter, size.height);
    paper.clip();
    for (const track of visible) drawGround(track);
    paper.fillStyle = colors.line;
    for (const [x] of marks) paper.fillRect(Math.round(x), AXIS, 1, size.height);
    for (const track of visible) {
      for (const hold of track.holds) drawHold(hold);
      for (const lane of track.lanes) drawLane(lane);
    }
    if (hovered?.job) drawWay(hovered.job);
    paper.restore();

    for (const track of visible) drawLabel(track);
    drawAxis(marks);
  }

  /** The x position and the width of a period, clipped slightly outside of the visible range. */
  function extent({ start, end }, least = 1) {
    const x = Math.max(xOf(start), size.gutter - 10);
    return [x, Math.min(Math.max(xOf(end), x + least), size.width + 10) - x];
  }
  const isSeen = ({ start, end }) => end >= view.from && start <= timeAt(size.width);

  function drawGround(track) {
    if (track.isHead || !isSeen(track)) return;
    const [x, width] = extent(track);
    paper.fillStyle = colors.row;
    paper.fillRect(x, track.top - scroller.scrollTop, width, track.height);
  }

  function drawHold(hold) {
    if (!isSeen(hold)) return;
    const { top, height } = hold.track, y = top - scroller.scrollTop, [x, width] = extent(hold);
    paper.globalAlpha = hovered === hold ? 1 : 0.45;
    paper.fillStyle = hatches[hold.kind];
    paper.fillRect(x, y, width, height);
    paper.globalAlpha = hovered === hold ? 0.3 : 0.12;
    paper.fillStyle = colors[hold.kind];
    paper.fillRect(x, y, width, height);
    paper.globalAlpha = 1;
    const left = Math.max(x, size.gutter) + 8;
    if (width > 60) drawText(hold.kind, left, y + height / 2, x + width - left - 8, colors.quiet, colors.row);
  }

  /** The index of the first item of a lane that ends at the given time or later. */
  function firstFrom(lane, time) {
    let low = 0, high = lane.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (lane[middle].end < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function drawLane(lane) {
    const { laneHeight } = lane[0].track, gap = laneHeight > 3 ? 1 : 0;
    const y = yOf(lane[0]) + gap, height = laneHeight - 2 * gap;
    const pixel = 1 / scale(), last = timeAt(size.width);
    let drawn = -Infinity, worst = 0;
    for (let at = firstFrom(lane, view.from); at < lane.length && lane[at].start <= last; at++) {
      const item = lane[at];
      // Of several items in one pixel only the worst must be visible, so the others are skipped.
      if (item.end < drawn + pixel && item.badness <= worst) continue;
      const [x, width] = extent(item);
      drawn = Math.max(item.end, item.start + pixel);
      worst = width > 1 ? 0 : item.badness;
      paper.globalAlpha = hovered?.job && item.job !== hovered.job ? 0.4 : 1;
      drawBar(item, x, y, width > 3 ? width - 1 : width, height);
    }
    paper.globalAlpha = 1;
  }

  function drawBar(item, x, y, width, height) {
    const { kind, number } = item, isOpen = kind === "running", name = item.name ?? item.job.name;
    paper.fillStyle = isOpen ? hatches.running : colors[kind];
    paper.strokeStyle = item === hovered ? colors.text : colors.running;
    paper.lineWidth = item === hovered ? 2 : 1;
    if (width < 5 || height < 8) paper.fillRect(x, y, width, height);
    else {
      paper.beginPath();
      paper.roundRect(x, y, width, height, 3);
      paper.fill();
      if (isOpen || item === hovered) paper.stroke();
    }
    if (kind === "dead") paper.fillRect(x + width - 2, y - 4, 2, height + 8); // marks the death of the job
    if (height < 12 || width < 26) return;
    const left = Math.max(x, size.gutter) + 6, label = number > 1 && width > 80 ? `${name} \u00b7 ${number}` : name;
    drawText(label, left, y + height / 2, x + width - left - 5, colors[isOpen ? "text" : "on-bar"], isOpen && colors.row);
  }

  /** Draw a text, shortened to the available width, on its own background if one is given. */
  function drawText(text, x, y, room, color, ground) {
    let shown = text.slice(0, Math.max(0, room / 4));
    while (shown && paper.measureText(shown).width > room) shown = shown.slice(0, -1);
    if (shown.length < Math.min(3, text.length)) return;
    if (shown !== text) shown = `${shown.slice(0, -1)}\u2026`;
    if (ground) {
      paper.fillStyle = ground;
      paper.fillRect(x - 3, y - 8, paper.measureText(shown).width + 6, 16);
    }
    paper.fillStyle = color;
    paper.fillText(shown, x, y + 0.5);
  }

  /** Draw the lines between the attempts of a job. */
  function drawWay({ items }) {
    paper.strokeStyle = colors.text;
    paper.lineWidth = 1.5;
    paper.beginPath();
    for (let at = 1; at < items.length; at++) {
      const [x, right] = [xOf(items[at - 1].end), xOf(items[at].start)];
      const [y, below] = [items[at - 1], items[at]].map((item) => yOf(item) + item.track.laneHeight / 2);
      const bend = Math.max(10, Math.min(60, (right - x) / 2));
      paper.moveTo(x, y);
      paper.bezierCurveTo(x + bend, y, right - bend, below, right, below);
    }
    paper.stroke();
  }

  function drawLabel(track) {
    const { label, top, height, isHead } = track, y = top - scroller.scrollTop + height / 2;
    if (isHead) paper.font = `600 ${FONT}`;
    const color = further.includes(track) ? colors.quiet : colors.text;
    drawText(label, 12, y, (isHead ? size.width : size.gutter) - 20, color);
    paper.font = FONT;
  }

  // From one minute to one day, in microseconds.
  const LONG_STEPS = [1, 2, 5, 10, 30, 60, 120, 360, 720, 1440].map((minutes) => minutes * 6e7);

  /** The positions and the labels of the marks on the axis. */
  function findMarks() {
    const least = (view.to - view.from) / Math.max(2, (size.width - size.gutter) / 110);
    const power = 10 ** Math.floor(Math.log10(least)), round = [1, 2, 5, 10].map((factor) => factor * power);
    const step = Math.max(1, (least > 2e7 ? [...LONG_STEPS, ...round] : round).find((each) => each >= least));
    const digits = Math.max(0, 6 - Math.floor(Math.log10(step))), marks = [];
    for (let time = Math.max(0, Math.ceil(view.from / step)) * step; time <= view.to; time += step)
      marks.push([xOf(time), step < 6e7 ? `${(time / 1e6).toFixed(digits)} s` : duration(time)]);
    return marks;
  }
  function drawAxis(marks) {
    paper.fillStyle = colors.page;
    paper.fillRect(0, 0, size.width, AXIS);
    paper.fillStyle = colors.line;
    paper.fillRect(0, AXIS - 1, size.width, 1);
    paper.fillStyle = colors.quiet;
    for (const [x, label] of marks) if (x >= size.gutter) paper.fillText(label, x + 4, AXIS / 2);
  }

  // The mouse and the keyboard.

  /** The item or the worker at a point of the canvas, or null. */
  function pick(x, y) {
    const depth = y + scroller.scrollTop;
    const track = y > AXIS && tracks.find(({ top, height }) => depth >= top && depth < top + height);
    if (!track || track.isHead) return null;
    if (x < size.gutter) return further.includes(track) ? null : track;
    const lane = track.lanes[Math.floor((depth - track.top - PADDING) / track.laneHeight)] ?? [];
    const reach = 3 / scale(), time = timeAt(x), first = firstFrom(lane, time - reach);
    const distance = ({ start, end }) => Math.max(start - time, time - end, 0);
    const [nearest] = lane.slice(first, first + 8).sort((one, other) => distance(one) - distance(other));
    if (nearest && distance(nearest) <= reach) return nearest;
    return track.holds.findLast((hold) => distance(hold) <= reach) ?? null;
  }

  function hover(thing, x, y) {
    if (thing !== hovered) redraw();
    hovered = thing;
    tip.hidden = thing === null;
    if (thing === null) return;
    const [title, lines] = thing.kind ? describeItem(thing) : describeWorker(thing);
    showTip(title, lines, colors[thing.kind] ?? colors.quiet, x, y);
  }
  /** Show the tooltip at a point of the window; a line may be marked as the one that is pointed at. */
  function showTip(title, lines, color, x, y) {
    const list = make("dl");
    for (const [term, text, isPointed] of lines) {
      const className = isPointed ? "pointed" : "";
      if (text) list.append(make("dt", { textContent: term, className }), make("dd", { textContent: text, className }));
    }
    tip.hidden = false;
    tip.replaceChildren(make("strong", { textContent: title }), list);
    tip.style.setProperty("--color", color);
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, x + 16 + width > innerWidth ? x - width - 12 : x + 16)}px`;
    tip.style.top = `${Math.max(4, y + 16 + height > innerHeight ? y - height - 12 : y + 16)}px`;
  }
  const hoverAt = (event) => hover(pick(event.offsetX, event.offsetY), event.clientX, event.clientY);

  const middleOf = ({ start, end }) => (start + end) / 2;
  function pointAt(item) {
    const { left, top } = canvas.getBoundingClientRect();
    hover(item, left + Math.max(size.gutter, Math.min(xOf(item.end), size.width)), top + yOf(item));
  }
  /** Zoom by a key or a button, around the hovered item if there is one. */
  function zoomHere(factor) {
    zoom(factor, hovered?.kind && Math.max(view.from, Math.min(middleOf(hovered), view.to)));
  }
  /** Move by a key or a button, and keep the same item hovered as long as it is visible. */
  const steer = (move) => () => {
    move();
    if (hovered?.kind) hovered.end >= view.from && hovered.start <= view.to ? pointAt(hovered) : hover(null);
  };

  /** Scroll to another failure and show its tooltip. */
  function goToFailure(step) {
    if (!failures.length) return;
    const at = failures.indexOf(hovered), next = at < 0 && step < 0 ? -1 : at + step;
    const item = failures.at(next % failures.length);
    const length = view.to - view.from, middle = middleOf(item);
    scroller.scrollTop = item.track.top - size.height / 2;
    show(middle - length / 2, middle + length / 2);
    pointAt(item);
  }

  let grip = null;
  canvas.addEventListener("pointerdown", (event) => {
    grip = { x: event.clientX, y: event.clientY, ...view, top: scroller.scrollTop };
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("dragged");
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!grip) return hoverAt(event);
    const shift = (grip.x - event.clientX) / scale();
    scroller.scrollTop = grip.top + grip.y - event.clientY;
    hover(null);
    show(grip.from + shift, grip.to + shift);
  });
  canvas.addEventListener("lostpointercapture", () => {
    grip = null;
    canvas.classList.remove("dragged");
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const { deltaX, deltaY, shiftKey } = event;
    if (shiftKey || Math.abs(deltaX) > Math.abs(deltaY)) pan((deltaX || deltaY) / 1000);
    else zoom(Math.exp(deltaY * 0.002), timeAt(Math.max(size.gutter, event.offsetX)));
    hoverAt(event);
  }, { passive: false });

  const zoomIn = steer(() => zoomHere(1 / 1.5)), zoomOut = steer(() => zoomHere(1.5));
  const showAll = steer(() => show(0, whole));
  const next = () => goToFailure(1), previous = () => goToFailure(-1);
  const keys = {
    "+": zoomIn, "=": zoomIn, "-": zoomOut, 0: showAll, n: next, p: previous, Escape: () => hover(null),
    ArrowLeft: steer(() => pan(-0.15)), ArrowRight: steer(() => pan(0.15)),
    ArrowUp: steer(() => scroller.scrollBy(0, -40)), ArrowDown: steer(() => scroller.scrollBy(0, 40)),
  };
  addEventListener("keydown", (event) => {
    if (!Object.hasOwn(keys, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow") && byId("overview").contains(event.target)) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const [id, act] of Object.entries({ in: zoomIn, out: zoomOut, fit: showAll, next })) byId(id).onclick = act;
  scroller.addEventListener("scroll", redraw);

  // The legend and the header.

  function fillLegend() {
    const entries = [
      ...data.outcomes.map((kind) => [kind, kind === "running" ? "hatched" : "", attempts]),
      ...data.hindrances.map((kind) => [kind, "hatched", holds]),
      ["delay", "thin", delays],
      ["group", "", groups],
    ];
    const names = { dead: "failed for good", delay: "backing off" };
    for (const [kind, className, items] of entries) {
      const number = items.filter((item) => item.kind === kind).length;
      if (!number) continue;
      const entry = make("li", { className });
      entry.style.setProperty("--color", `var(--${kind.replace(" ", "-")})`);
      entry.append(make("i"), `${names[kind] ?? kind} `, make("b", { textContent: grouped(number) }));
      byId("legend").append(entry);
    }
  }
  function fillHeader() {
    document.title = data.pools.length === 1 ? `Timeline: ${data.pools[0]}` : "Timeline";
    byId("title").textContent = document.title;
    byId("summary").textContent =
      `${counted(attempts.length, "attempt")} of ${counted(jobs.length, "job")} ` +
      `by ${counted(data.workers, "worker")} in ${duration(data.end)}`;
    if (data.dropped) byId("dropped").textContent = `${counted(data.dropped, "older record")} dropped`;
    byId("next").hidden = !failures.length;
  }

  // The summary of each pool.

  const colorOf = (cause) => `var(--${data.causes[cause].replaceAll("_", "-")})`;
  const share = (time, sum) => {
    const percent = Math.round((100 * time) / sum);
    return `${percent || "<1"} %`;
  };
  const sumOf = (time) => time.reduce((sum, [, part]) => sum + part, 0);

  /** A bar with a part for each cause; `time` has pairs of cause and microseconds. */
  function makeBar(name, time, className = "") {
    const sum = sumOf(time), words = time.map(([cause, part]) => `${data.causes[cause]} ${share(part, sum)}`);
    const bar = make("div", { className, tabIndex: -1 }), stack = make("span", { className: "stack" });
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", `${name}: ${[...words, duration(sum)].join(", ")}`);
    for (const [cause, part] of time) {
      const piece = make("i");
      piece.dataset.cause = cause;
      piece.style.setProperty("--color", colorOf(cause));
      piece.style.flex = `${part / sum} 1 0`;
      stack.append(piece);
    }
    bar.append(make("span", { textContent: name }), stack, make("span", { textContent: duration(sum) }));
    const show = (pointed, x, y) => {
      hover(null);
      const lines = time.map(([cause, part]) => [data.causes[cause], `${duration(part)}, ${share(part, sum)}`, cause === pointed]);
      const left = className === "left" ? [["the worker", "has left"]] : [];
      showTip(name, [...lines, ...left], pointed === null ? colors.quiet : colorOf(pointed), x, y);
    };
    bar.addEventListener("pointermove", ({ target, clientX, clientY }) =>
      show(target.dataset.cause ? Number(target.dataset.cause) : null, clientX, clientY));
    bar.addEventListener("pointerleave", () => hover(null));
    bar.addEventListener("focus", () => {
      const { left, bottom: y } = stack.getBoundingClientRect();
      if (bar.matches(":focus-visible")) show(null, left, y - 8);
    });
    bar.addEventListener("blur", () => hover(null));
    return bar;
  }

  function makeBars({ whole: all, bars, hidden, others }) {
    const list = make("div", { className: "bars" });
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", "What the places of each worker have spent their time on");
    list.append(makeBar("all workers", all), ...bars.map(([name, left, time]) => makeBar(name, time, left ? "left" : "")));
    if (others.length) list.append(makeBar(hidden ? `and ${grouped(hidden)} more` : "others", others, "left"));
    // One stop of the tab key; from there the arrows lead to the other bars.
    list.firstChild.tabIndex = 0;
    list.addEventListener("keydown", (event) => {
      const { key, target } = event;
      const goal = {
        ArrowDown: target.nextSibling, ArrowUp: target.previousSibling, Home: list.firstChild, End: list.lastChild,
      }[key];
      if (goal === undefined) return;
      event.preventDefault();
      if (!goal) return;
      target.tabIndex = -1;
      goal.tabIndex = 0;
      goal.focus();
    });
    return list;
  }

  function makeTable({ waiting: waits, running: runs }) {
    const table = make("table");
    table.append(make("caption", { textContent: "Of the recorded attempts" }));
    const addRow = (head, cells, tag) => {
      const row = table.insertRow();
      row.append(make("th", { textContent: head }), ...cells.map((textContent) => make(tag, { textContent })));
    };
    addRow("", ["p50", "p90", "p99", "max", "number"], "th");
    for (const [head, title, [number, ...times]] of [
      ["waiting", "From the submission of a job to its first start", waits],
      ["running", "From the start to the end of an attempt", runs],
    ]) {
      addRow(head, [...(number ? times.map(duration) : ["", "", "", ""]), grouped(number)], "td");
      table.rows[table.rows.length - 1].title = title;
    }
    return table;
  }

  function fillOverview() {
    const overview = byId("overview"), isOne = data.summaries.length === 1;
    overview.hidden = !data.summaries.length;
    byId("bottleneck").textContent = isOne ? data.summaries[0].bottleneck : `of ${data.summaries.length} pools`;
    for (const each of data.summaries) {
      const section = make("section"), causes = make("ul", { className: "causes" }), sum = sumOf(each.whole);
      causes.setAttribute("aria-label", "Causes");
      if (!isOne) section.append(make("h2", { textContent: data.pools[each.pool] }), make("p", { textContent: each.bottleneck }));
      for (const [cause, time] of each.whole) {
        const entry = make("li");
        entry.style.setProperty("--color", colorOf(cause));
        entry.append(make("i"), `${data.causes[cause]} `, make("b", { textContent: share(time, sum) }));
        causes.append(entry);
      }
      if (sum) section.append(causes, makeBars(each));
      section.append(makeTable(each));
      if (each.explanation) {
        const more = make("details");
        more.append(make("summary", { textContent: "Explanation" }), make("pre", { textContent: each.explanation }));
        section.append(more);
      }
      byId("pools").append(section);
    }
    overview.open = innerHeight >= 700; // in a low window the chart needs the room
  }

  function fit() {
    byId("content").style.height = `${bottom}px`;
    const ratio = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = scroller;
    paper.font = FONT;
    const labels = tracks.filter(({ isHead }) => !isHead).map(({ label }) => paper.measureText(label).width);
    Object.assign(size, { width, height, gutter: Math.min(Math.max(0, ...labels) + 26, 220, width / 3) });
    Object.assign(canvas, { width: width * ratio, height: height * ratio });
    canvas.style.width = `${width}px`;
    draw();
  }

  fillLegend();
  fillHeader();
  fillOverview();
  readColors();
  showAll();
  fit(); // at once, since a click may come before the first call of the observer
  new ResizeObserver(fit).observe(scroller);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColors);

  // For programs that control the page: the position of the middle of an attempt in the window.
  window.locate = (name, number) => {
    const item = attempts.find((attempt) => attempt.job.name === name && attempt.number === number);
    const { left, top } = canvas.getBoundingClientRect();
    return { x: left + xOf((item.start + item.end) / 2), y: top + yOf(item) + item.track.laneHeight / 2 };
  };
})();
