// The browser of rollouts: a filtered list of groups; one opens to its failures, the hint they became, and what it brought.
"use strict";

(() => {
  const ON_PAGE = 20;
  const OUTCOMES = {
    rescued: "rescued", retried: "tried again in vain", failed: "none correct", some: "some correct", all: "all correct",
    undecided: "no verdict",
  };
  const MODES = {
    all_truncated: "all truncated", some_truncated: "some truncated", none_truncated: "none truncated", no_answer: "no answer",
  };
  const STATUSES = {
    different: "wrong", no_answer: "no answer", unparsable: "unreadable", too_large: "too large", bad_gold: "bad reference",
    timeout: "no verdict: time", crash: "no verdict: crash",
  };
  const groups = [...document.querySelectorAll(".rollouts-data")].flatMap((part) => JSON.parse(part.textContent));
  const runNames = dataOf("curves-data").runs.map((run) => run.name);
  const filters = document.getElementById("filters");
  let found = groups, page = 0;

  // ---- filters

  const textOf = (group) =>
    [group.id, group.problem, group.answer, ...everyRollout(group).flatMap((one) => [one.response, one.extracted || ""]),
      ...group.attempts.map((attempt) => attempt.prompt)].join("\n").toLowerCase();
  const everyRollout = (group) => [...group.rollouts, ...group.attempts.flatMap((attempt) => attempt.rollouts)];

  function choose() {
    const { run, outcome, mode, from, to, text } = Object.fromEntries(new FormData(filters));
    const wanted = text.trim().toLowerCase();
    found = groups.filter(
      (group) =>
        (run === "" || group.run === Number(run)) &&
        (!outcome || group.outcome === outcome) &&
        (!mode || group.mode === mode) &&
        (!from || group.step >= Number(from)) &&
        (!to || group.step <= Number(to)) &&
        (!wanted || textOf(group).includes(wanted)),
    );
    page = 0;
    show();
  }

  function addOptions(name, spelled) {
    const present = new Set(groups.map((group) => group[name]));
    for (const [value, label] of Object.entries(spelled)) {
      if (present.has(value)) filters.elements[name].append(element("option", "", [label], { value }));
    }
  }

  // ---- the list

  function show() {
    const nPages = Math.max(1, Math.ceil(found.length / ON_PAGE));
    const start = page * ON_PAGE;
    const word = found.length === 1 ? "group" : "groups";
    document.getElementById("found").textContent = `${found.length.toLocaleString("en")} ${word}`;
    document.getElementById("groups").replaceChildren(...found.slice(start, start + ON_PAGE).map(summaryOf));
    document.getElementById("pages").hidden = nPages === 1;
    document.getElementById("page").textContent = `page ${page + 1} of ${nPages}`;
    document.getElementById("previous").disabled = page === 0;
    document.getElementById("next").disabled = page === nPages - 1;
  }

  function summaryOf(group) {
    const badges = [element("span", `badge ${group.outcome}`, [OUTCOMES[group.outcome]])];
    if (group.mode) badges.push(element("span", "badge", [MODES[group.mode]]));
    const where = element("span", "where", [`${runNames[group.run]} · step ${group.step}`]);
    const summary = element("summary", "", [element("span", "problem", [group.problem]), where, ...badges]);
    const made = element("details", "group", [summary]);
    made.addEventListener("toggle", () => made.open && made.children.length === 1 && made.append(bodyOf(group)), { once: true });
    return made;
  }

  // ---- one group

  function bodyOf(group) {
    const nCorrect = group.rollouts.filter((one) => one.correct).length;
    return element("div", "body", [
      heading("Problem"), text(group.problem),
      heading("Reference answer"), text(group.answer),
      heading(`First attempts: ${nCorrect} of ${group.rollouts.length} correct`),
      ...group.rollouts.map((one) => rolloutOf(one, false)),
      folded("Plain prompt, as the model read it", group.prompt),
      ...group.attempts.map(attemptOf),
      element("p", "quiet", [`${group.id} · rollouts/${group.file} of ${runNames[group.run]}`]),
    ]);
  }

  function attemptOf(attempt) {
    if (attempt.purpose === "note") {
      const notes = attempt.rollouts.map((one) => rolloutOf(one, true));
      return element("div", "hint", [heading("Notes, which are not graded"), folded("What they were asked for with", attempt.prompt), ...notes]);
    }
    if (attempt.origin === "trace") {
      return element("div", "hint", [heading("A given solution, trained beside them"), ...attempt.rollouts.map((one) => rolloutOf(one, false))]);
    }
    const nCorrect = attempt.rollouts.filter((one) => one.correct).length;
    const isHint = attempt.origin === "hinted";
    const became = attempt.listed.length
      ? `The failures became a hint that lists ${attempt.listed.length} wrong answer${attempt.listed.length > 1 ? "s" : ""}`
      : isHint ? "The failures became a hint without answers" : "Tried again on the plain prompt";
    const shown = [heading(attempt.mode ? `${became} (${MODES[attempt.mode] || attempt.mode})` : became)];
    if (isHint) shown.push(marked(attempt.prompt, attempt.listed));
    const rescued = attempt.rollouts.find((one) => one.correct && one.member) || attempt.rollouts.find((one) => one.correct);
    shown.push(heading(`With it: ${nCorrect} of ${attempt.rollouts.length} correct`));
    return element("div", "hint", [...shown, ...attempt.rollouts.map((one) => rolloutOf(one, one === rescued))]);
  }

  function rolloutOf(one, isOpen) {
    const isNote = one.correct === undefined;
    const verdict = isNote ? "note" : one.correct ? "correct" : "wrong";
    const graded = isNote ? [] : [
      one.extracted === null ? "no answer found" : `answer ${one.extracted}`,
      element("span", `badge ${verdict}`, [one.correct ? "correct" : STATUSES[one.status] || one.status]),
      ...(one.verified ? [element("span", "quiet", [`the verifier: ${one.verified.correct ? "correct" : STATUSES[one.verified.status] || one.verified.status}`])] : []),
    ];
    const about = [
      ...graded,
      ...(one.truncated ? [element("span", "badge", ["cut off"])] : []),
      ...(one.member ? [element("span", "badge", ["trained"])] : []),
      element("span", "quiet", [
        `${one.tokens} tokens${one.given ? `, the first ${one.given} given` : ""}${isShaped(one) ? `, reward ${one.reward}` : ""}`,
      ]),
    ];
    const asked = one.prompt === undefined ? [] : [folded("Its own prompt", one.prompt)];
    const made = element("details", `rollout ${verdict}`, [element("summary", "", about), text(one.response), ...asked]);
    made.open = isOpen;
    return made;
  }

  const isShaped = (one) => one.reward !== undefined && one.reward !== Number(one.correct);
  const heading = (words) => element("h4", "", [words]);
  const text = (words) => element("pre", "", [words]);
  const folded = (words, inside) => element("details", "", [element("summary", "quiet", [words]), text(inside)]);

  /** The hint with its listed answers marked; from the right, since a problem may hold the same numbers. */
  function marked(words, listed) {
    const parts = [];
    let rest = words;
    for (const answer of [...listed].reverse()) {
      const at = answer ? rest.lastIndexOf(answer) : -1;
      if (at < 0) continue;
      parts.unshift(element("mark", "", [answer]), rest.slice(at + answer.length));
      rest = rest.slice(0, at);
    }
    return element("pre", "", [rest, ...parts]);
  }

  function turn(by) {
    page += by;
    show();
    document.getElementById("filters").scrollIntoView();
  }

  addOptions("outcome", OUTCOMES);
  addOptions("mode", MODES);
  let waiting;
  filters.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(choose, 150);
  });
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("previous").addEventListener("click", () => turn(-1));
  document.getElementById("next").addEventListener("click", () => turn(1));
  if (groups.some((group) => group.outcome === "rescued")) filters.elements.outcome.value = "rescued";
  choose();
})();
