// Live figures, from two readings of the Prometheus metrics.

import { html, useMemo } from "./vendor/preact-htm.js";
import { stageName } from "./ranking.js";

/** The samples of one reading: a Map from name to [{labels, value}]. */
function parse(text) {
	const samples = new Map();
	for (const [, name, labels, value] of text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)) {
		const pairs = Object.fromEntries([...(labels ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, of]) => [key, of]));
		samples.set(name, [...(samples.get(name) ?? []), { labels: pairs, value: Number(value) }]);
	}
	return samples;
}

const sum = (samples, name, keep = () => true) =>
	(samples.get(name) ?? []).filter(({ labels }) => keep(labels)).reduce((total, { value }) => total + value, 0);
const names = (samples, name, label) => [...new Set((samples.get(name) ?? []).map(({ labels }) => labels[label]))];
const rises = (from, to, name, keep) => Math.max(0, sum(to, name, keep) - sum(from, name, keep));

/** What happened between the oldest and the newest reading; since the start, if nothing did. */
function figures(readings) {
	const last = parse(readings.at(-1).text);
	const first = parse(readings[0].text);
	const seconds = (readings.at(-1).at - readings[0].at) / 1000;
	const isRerank = ({ route }) => /rank|search|ws$/.test(route);
	const now = rises(first, last, "qrerank_stage_seconds_count") > 0;
	const from = now ? first : new Map();
	const stages = names(last, "qrerank_stage_seconds_count", "stage").map((stage) => {
		const of = (labels) => labels.stage === stage;
		const count = rises(from, last, "qrerank_stage_seconds_count", of);
		return { stage, count, ms: count ? (1000 * rises(from, last, "qrerank_stage_seconds_sum", of)) / count : 0 };
	});
	const reasons = names(last, "qrerank_rejections_total", "reason").map((reason) => {
		const of = (labels) => labels.reason === reason;
		return { reason, total: sum(last, "qrerank_rejections_total", of), now: rises(first, last, "qrerank_rejections_total", of) };
	});
	return {
		seconds,
		now,
		perSecond: seconds ? rises(first, last, "qrerank_request_seconds_count", isRerank) / seconds : 0,
		running: sum(last, "qrerank_requests_running"),
		waiting: sum(last, "qrerank_requests_waiting"),
		stages: stages.filter(({ count }) => count).sort((a, b) => b.ms - a.ms),
		reasons: reasons.filter(({ total }) => total).sort((a, b) => b.total - a.total),
	};
}

export function Live({ readings, problem }) {
	const found = useMemo(() => (readings.length ? figures(readings) : null), [readings]);
	if (!found && !problem) return null;
	return html`<section aria-labelledby=live>
		<h2 id=live>Now</h2>
		${found ? html`<${Figures} found=${found} />` : html`<p class=hint>${problem.status === 404 ? "The metrics are on a port of their own, which this page cannot read." : problem.message}</p>`}
	</section>`;
}

function Figures({ found }) {
	const most = Math.max(...found.stages.map(({ ms }) => ms), 0.001);
	return html`<ul class=figures>
			<li><b>${found.perSecond.toFixed(1)}</b> rankings a second</li><li><b>${found.running}</b> running</li><li><b>${found.waiting}</b> waiting</li>
		</ul>
		<div class=halves>
			<div><h3>Stages, mean of ${found.now ? `the last ${Math.max(2, Math.round(found.seconds))} s` : "all since the start"}</h3>
				${!found.stages.length && html`<p class=hint>Nothing was ranked yet.</p>`}
				<ul class=meters>${found.stages.map(({ stage, ms, count }) => html`<li key=${stage}><span>${stageName(stage)}</span><span class=meter><i style=${{ width: `${(100 * ms) / most}%` }}></i></span><span>${ms.toFixed(ms < 10 ? 2 : 1)} ms <small>× ${count}</small></span></li>`)}</ul></div>
			<div><h3>Refused</h3>
				${!found.reasons.length && html`<p class=hint>Nothing was refused since the start.</p>`}
				<ul class="meters two">${found.reasons.map(({ reason, total, now }) => html`<li key=${reason}><span>${reason}</span><span>${total.toLocaleString("en")}${now ? `, ${now.toLocaleString("en")} now` : ""}</span></li>`)}</ul></div>
		</div>`;
}
