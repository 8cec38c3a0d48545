// Collections and their jobs.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { counted } from "./ranking.js";
import { ask } from "./service.js";
import { Confirmed, Head, Message, minute } from "./shell.js";

const number = (count) => count.toLocaleString("en");
const small = (words) => html` <small>${words}</small>`;
const size = (bytes) => (bytes === undefined ? "–" : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
const path = (name, rest = "") => `v1/collections/${encodeURIComponent(name)}${rest}`;

/** `health` has the size and the last check of each. */
export function Collections({ collections, health, changed }) {
	const opened = new Map((health?.components.index?.facts.collections ?? []).map((each) => [each.name, each]));
	const [jobs, setJobs] = useState([]);
	const [problem, setProblem] = useState(null);
	useEffect(() => {
		const current = { is: true };
		Promise.allSettled(collections.map(({ name }) => ask(path(name, "/jobs")))).then((all) => {
			if (!current.is) return;
			setJobs(all.flatMap(({ value }) => value?.data ?? []));
			setProblem(all.find(({ reason }) => reason)?.reason ?? null);
		});
		return () => (current.is = false);
	}, [collections]);
	const act = (method, name, rest) => async () => {
		await ask(path(name, rest), method);
		await changed();
	};
	const newest = [...jobs].sort((a, b) => (b.status === "running") - (a.status === "running") || b.created_at.localeCompare(a.created_at)).slice(0, 10);
	return html`<section aria-labelledby=collections>
		<h2 id=collections>Collections</h2>
		${!collections.length && html`<p class=hint>There are none yet.</p>`}
		<div class=scroll><table>
			${collections.length > 0 && html`<${Head} names=${["Name", "Documents", "Passages", "Size", "Model, language", "Integrity", ""]} />`}
			<tbody>${collections.map((each) => html`<tr key=${each.name}>
				<th scope=row dir=auto>${each.name}${each.aliases.length > 0 && small(`also ${each.aliases.join(", ")}`)}</th>
				<td>${number(each.documents)}${each.waiting > 0 && small(`${number(each.waiting)} waiting`)}${each.failed > 0 && small(`${number(each.failed)} cannot be encoded`)}</td>
				<td>${number(each.passages)}</td><td>${size(opened.get(each.name)?.bytes)}</td>
				<td>${each.model}, ${each.language}${each.encoding && small(`next: ${each.encoding.model}, ${number(each.encoding.done)} of ${number(each.encoding.total)}`)}</td>
				<td>${integrity(opened.get(each.name))}</td>
				<td><span class=actions>
					<${Confirmed} label=Compact question=${`Merge all segments of “${each.name}” into one? Searches go on meanwhile.`} act=${act("POST", each.name, "/compact")} />
					<${Confirmed} label=Delete question=${`Delete the collection “${each.name}” with its ${counted(each.documents, "document")} for good?`} act=${act("DELETE", each.name)} />
				</span></td>
			</tr>`)}</tbody>
		</table></div>
		<h3 id=jobs>Jobs</h3>
		<${Message} calm problem=${problem} />
		${!newest.length && html`<p class=hint>Nothing was written yet.</p>`}
		<ul class=jobs aria-labelledby=jobs>${newest.map((job) => html`<li key=${job.id}><${Job} job=${job} /></li>`)}</ul>
	</section>`;
}

function integrity(found) {
	if (!found) return "not opened yet";
	if (!found.certified) return html`<span class="state unavailable">${found.fault}</span>`;
	return found.certificate ? `checked ${minute(found.certificate.at)}` : "sound";
}

const KINDS = { documents: "write", compact: "compaction", encode: "encoding with another model" };

function Job({ job }) {
	const left = job.seconds_left === null ? "" : `, about ${duration(job.seconds_left)} left`;
	const label = `${job.collection}: ${KINDS[job.kind] ?? job.kind}`;
	return html`<b dir=auto>${label}</b> <time datetime=${job.created_at}>${minute(job.created_at)}</time>
		${job.status === "running"
			? html`<progress max=${Math.max(1, job.total)} value=${job.done} aria-label=${label}></progress> <span>${number(job.done)} of ${number(job.total)}${left}</span>`
			: html`<span>${job.status === "done" ? `done: ${number(job.total)}` : "failed"}</span>`}
		${job.rejected > 0 && small(`${number(job.rejected)} not taken`)}${job.error && html`<small class="state unavailable">${job.error}</small>`}`;
}

const duration = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);
