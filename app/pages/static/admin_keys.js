// Keys and their use.

import { html, useState } from "./vendor/preact-htm.js";
import { ask } from "./service.js";
import { Confirmed, Copy, Head, Message, keepFocus, useAct } from "./shell.js";

const DAYS = 30;
const DAY_MS = 86_400_000;
const date = (time) => (time ? time.slice(0, 10) : "–");

/** `changed` reads keys and usage anew. */
export function Keys({ keys, usage, changed }) {
	const [made, setMade] = useState([]);
	const show = (key) => setMade((others) => [...others, key]);
	const [ended, setEnded] = useState(false);
	const days = lastDays();
	const used = Map.groupBy(usage, (row) => row.caller);
	const most = Math.max(1, ...usage.map((row) => row.requests));
	const shown = keys.filter((key) => ended || key.status === "active");
	const others = [...used.keys()].filter((caller) => !keys.some((key) => key.id === caller));
	const rotate = async (key) => {
		show(await ask(`v1/admin/keys/${key.id}/rotate`, "POST", {}));
		await changed();
	};
	const revoke = async (key) => {
		await ask(`v1/admin/keys/${key.id}`, "DELETE");
		await changed();
	};
	return html`<section aria-labelledby=keys>
		<h2 id=keys>Keys</h2>
		${made.map((key) => html`<${Made} key=${key.key} made=${key} done=${(event) => {
			keepFocus(event.target.closest("section"));
			setMade((all) => all.filter((each) => each !== key));
		}} />`)}
		<div class=scroll><table>
			<${Head} names=${["Name", "Begins with", "Role, tier", "Sees", "Last used", "Ends", `Requests, ${DAYS} days`, ""]} />
			<tbody>
				${shown.map((key) => html`<tr key=${key.id}>
					<th scope=row>${key.name || "without a name"}${key.status !== "active" && html` <small>${key.status}</small>`}</th><td><code>${key.prefix}</code></td><td>${key.role}, ${key.tier}</td>
					<td class=sees>${key.collections ? key.collections.join(", ") || "no collection" : "all"}${key.read_only ? ", reads only" : ""}</td>
					<td>${date(key.last_used)}</td><td>${date(key.expires)}</td><td><${Days} days=${days} used=${used.get(key.id)} most=${most} /></td>
					<td>${key.status === "active" && html`<span class=actions>
						<${Confirmed} label=Rotate question=${`Rotate the key “${key.name || key.prefix}”? The old one opens for 24 hours more.`} act=${() => rotate(key)} />
						<${Confirmed} label=Revoke question=${`Revoke the key “${key.name || key.prefix}” for good? Whoever uses it is refused within seconds.`} act=${() => revoke(key)} />
					</span>`}</td>
				</tr>`)}
				${others.map((caller) => html`<tr key=${caller}><th scope=row>${caller}</th><td>–</td><td colspan=4>a token, or a key of the environment</td><td><${Days} days=${days} used=${used.get(caller)} most=${most} /></td><td></td></tr>`)}
			</tbody>
		</table></div>
		${keys.some((key) => key.status !== "active") && html`<button class=plain aria-pressed=${ended} onClick=${() => setEnded(!ended)}>${ended ? "Hide" : "Show"} expired and revoked keys</button>`}
		<${Create} made=${async (key) => (show(key), await changed())} />
	</section>`;
}

const focus = (element) => element?.focus(); // and so into view: it may stand far above

function Made({ made, done }) {
	return html`<div class=made role=status tabindex=-1 ref=${focus}>
		<p><b>Copy the key${made.name ? ` “${made.name}”` : ""} now: it is shown this once, and nobody can read it again.</b></p>
		<p><code tabindex=0>${made.key}</code></p>
		<p><${Copy} text=${() => made.key} label="Copy the key" /> <button onClick=${done}>I have it</button></p>
	</div>`;
}

function lastDays() {
	const now = Date.now();
	return Array.from({ length: DAYS }, (_, at) => new Date(now - (DAYS - 1 - at) * DAY_MS).toISOString().slice(0, 10));
}

/** A bar for each day; the sum in words. */
function Days({ days, used, most }) {
	const rows = days.map((day) => used?.find((row) => row.day === day));
	const sum = (name) => rows.reduce((total, row) => total + (row?.[name] ?? 0), 0);
	const bar = (at, name, count) => html`<rect class=${name} x=${4 * at} y=${24 - height(count, most)} width=3 height=${height(count, most)} />`;
	return html`<span class=days><svg viewBox="0 0 ${4 * DAYS} 24" aria-hidden=true>${rows.map((row, at) => row && html`<g>
			<title>${days[at]}: ${row.requests} requests, ${row.rejected} refused</title>
			${bar(at, "", row.requests)}${bar(at, "refused", row.rejected)}
		</g>`)}</svg> <span>${sum("requests").toLocaleString("en")}${sum("rejected") ? `, ${sum("rejected").toLocaleString("en")} refused` : ""}</span></span>`;
}

const height = (count, most) => (count ? Math.max(1, (24 * count) / most) : 0);

function Create({ made }) {
	const [create, busy, problem] = useAct(async (form) => {
		const { name, role, tier, days, seen, reads } = form.elements;
		const names = seen.value.split(/[\s,]+/).filter(Boolean);
		const body = { name: name.value, role: role.value, tier: tier.value, read_only: reads.checked };
		if (days.value) body.expires_days = Number(days.value);
		if (names.length) body.collections = names;
		const key = await ask("v1/admin/keys", "POST", body);
		form.reset();
		await made(key);
	});
	const field = (id, label, more, options) => html`<div class=field><label for=${id}>${label}</label>
		<${options ? "select" : "input"} id=${id} name=${id} autocomplete=off ...${more}>${options?.map((name) => html`<option value=${name}>${name}</option>`)}<//></div>`;
	return html`<details><summary>Make a key</summary><form class=create onSubmit=${(event) => (event.preventDefault(), create(event.target))}>
		${field("name", "Name", { maxlength: 128, placeholder: "whose it is" })}
		${field("role", "Role", {}, ["user", "read-only", "admin"])}
		${field("tier", "Tier", {}, ["standard", "public", "premium", "unlimited"])}
		${field("days", "Days until it ends", { type: "number", min: 1, max: 36500, placeholder: "never" })}
		${field("seen", "Collections", { placeholder: "all, or names, team-*" })}
		<label class=check><input type=checkbox name=reads /> searches, and changes nothing</label>
		<button class=main aria-disabled=${busy}>Make it${busy && " …"}</button>
		<${Message} problem=${problem} />
	</form></details>`;
}
