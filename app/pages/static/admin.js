// The admin page.

import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { Collections } from "./admin_collections.js";
import { Keys } from "./admin_keys.js";
import { Live } from "./admin_live.js";
import { Problem, ask, askText, hasKey } from "./service.js";
import { Bar, Confirmed, Head, Message, minute, startTheme } from "./shell.js";

const EVERY_MS = 2000;
const KEPT = 30; // readings of the metrics: a minute
const SELDOM = 5; // rounds between looks at what changes slowly

function App() {
	const [needed, setNeeded] = useState(null);
	const [problem, setProblem] = useState(null);
	const [seen, setSeen] = useState({}); // what each route answered
	const { health, collections, keys, feedback, metricsProblem, readings = [] } = seen;
	const at = useRef({ round: 0, turn: 0 }).current; // the turn is of the key: what was asked with another one is not shown
	at.works = collections?.some(({ waiting, encoding }) => waiting > 0 || encoding); // whether a collection is being written

	const look = async () => {
		const isFull = at.round++ % SELDOM === 0;
		const asked = at.turn;
		const { auth } = await ask("v1/cluster/auth");
		setNeeded(auth);
		if (auth && !hasKey()) throw new Problem("Enter a key with the role admin. `qrerank keys create --role admin` makes one.", { kind: "asked", place: "key" });
		const ifCurrent = (set) => (value) => asked === at.turn && set(value);
		const take = (name) => ifCurrent((value) => setSeen((before) => ({ ...before, [name]: value })));
		const wanted = [
			askText("metrics").then(ifCurrent((text) => {
				const reading = { at: performance.now(), text };
				setSeen(({ readings = [], ...others }) => ({ ...others, readings: [...readings, reading].slice(-KEPT), metricsProblem: null }));
			}), take("metricsProblem")),
		];
		if (isFull || at.works) wanted.push(ask("v1/collections").then(({ data }) => take("collections")(data)));
		if (isFull) {
			wanted.push(ask("health/detailed").then(take("health")));
			if (auth && !at.off) wanted.push(ask("v1/feedback").then(take("feedback"), (fault) => {
				if (fault.status !== 404) throw fault;
				at.off = true; // there is no feedback
			}));
			if (auth) wanted.push(keysOf().then(take("keys")));
		}
		const faults = (await Promise.allSettled(wanted)).flatMap(({ reason }) => reason ?? []);
		if (faults.length || isFull) ifCurrent(setProblem)(faults.find((fault) => fault.place === "key") ?? faults[0] ?? null);
	};
	const failed = (fault) => {
		at.round = 0; // so that the next round asks for all
		setProblem(fault);
	};
	const again = () => {
		at.round = 0;
		at.turn += 1;
		setProblem(null);
		return look().catch(failed);
	};
	const withKey = () => { // nothing stays of what another key showed
		setSeen({});
		at.off = false;
		return again();
	};
	useEffect(() => {
		let timer = null;
		const tick = async () => {
			if (!document.hidden) await look().catch(failed);
			timer = setTimeout(tick, EVERY_MS);
		};
		tick();
		return () => clearTimeout(timer);
	}, []);

	const keyed = problem?.place === "key" ? { ...problem, message: problem.status === 403 ? "This key is not an administrator’s." : problem.message, retryAfter: null } : null;
	return html`
		<${Bar} here=admin needed=${needed} problem=${keyed} keyed=${withKey}><//>
		<main class=admin>
			<h1>What the service does, and who may use it</h1>
			<${Message} calm problem=${problem && !keyed ? problem : null} />
			${health && html`<${Health} health=${health} />`}
			<${Live} readings=${readings} problem=${metricsProblem} />
			${needed === false ? html`<section aria-labelledby=keys><h2 id=keys>Keys</h2><p class=hint>Authentication is off, so there are no keys: everybody who reaches the service can use it. QRERANK_AUTH__ENABLED=true turns it on.</p></section>` : keys && html`<${Keys} keys=${keys.keys} usage=${keys.usage} changed=${again} />`}
			${collections && html`<${Collections} collections=${collections} health=${health} changed=${again} />`}
			${feedback && html`<${Feedback} standings=${feedback.data} changed=${again} />`}
		</main>`;
}

async function keysOf() {
	const [keys, usage] = await Promise.all([ask("v1/admin/keys"), ask("v1/admin/usage?days=30")]);
	return { keys: keys.data, usage: usage.data };
}

const WORDS = { ok: "works", degraded: "works, with less", unavailable: "does not work" };

function Health({ health }) {
	const targets = Object.entries(health.targets);
	return html`<section aria-labelledby=health>
		<h2 id=health>Health: <span class="state ${health.status}">${WORDS[health.status]}</span></h2>
		${health.reason && html`<p class=warning>${health.reason}</p>`}
		<ul class=parts>${Object.entries(health.components).map(([name, part]) => html`<li class="state ${part.status}" key=${name}>
			<b>${name.replaceAll("_", " ")}</b> ${WORDS[part.status]}
			${part.last_error && html`<small>last fault ${minute(part.last_error_at)}: ${part.last_error}</small>`}
		</li>`)}</ul>
		<ul class=figures>${targets.map(([name, { target, measured, meets }]) => html`<li key=${name}><b>${amount(name, measured)}</b> ${name.replace(/_[^_]+$/, "").replaceAll("_", " ")}, target ${amount(name, target)}${meets === null ? "" : meets ? ": met" : ": not met"}</li>`)}</ul>
	</section>`;
}


const amount = (name, value) => (value === null ? "–" : name.endsWith("bytes") ? `${(value / 1e6).toFixed(0)} MB` : `${value.toFixed(value < 10 ? 1 : 0)} ms`);

function Feedback({ standings, changed }) {
	const forget = async () => {
		await ask("v1/feedback", "DELETE");
		await changed();
	};
	return html`<section aria-labelledby=feedback>
		<h2 id=feedback>Learned from feedback</h2>
		${!standings.length && html`<p class=hint>Nothing was judged yet.</p>`}
		${standings.length > 0 && html`<div class=scroll><table>
			<${Head} names=${["Where", "Tier", "Judged", "Cosine", "Quantum", "Words", "The usual weights are best"]} />
			<tbody>${standings.map((each) => html`<tr><th scope=row>${each.collection ?? "documents sent"}</th><td>${each.key_group}</td><td>${each.judged.toFixed(0)}</td>
				${["classical", "quantum", "lexical"].map((ranker) => html`<td>${each.weights[ranker].toFixed(2)}</td>`)}<td>${Math.round(100 * each.defaults)} % sure</td></tr>`)}</tbody>
		</table></div>
		<${Confirmed} label="Forget it" question="Forget what was learned of all collections and tiers? Rankings are then as without feedback." act=${forget} />`}
	</section>`;
}

startTheme();
const app = document.getElementById("app");
app.textContent = "";
render(html`<${App} />`, app);
