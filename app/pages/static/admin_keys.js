// Keys: who has one, how much it was used, and what an administrator does with them.

import { html, useState } from "./vendor/preact-htm.js";
import { ask } from "./service.js";
import { Confirmed, Copy, Message } from "./shell.js";

const DAYS = 30;
const DAY_MS = 86_400_000;
const date = (time) => (time ? time.slice(0, 10) : "–");

/** The table of keys, and the form that makes one. `changed` reads them anew. */
export function Keys({ keys, usage, changed }) {
	const [made, setMade] = useState(null);
	const [ended, setEnded] = useState(false);
	const days = lastDays();
	const used = new Map();
	for (const row of usage) used.set(row.caller, new Map([...(used.get(row.caller) ?? []), [row.day, row]]));
	const most = Math.max(1, ...usage.map((row) => row.requests));
	const shown = keys.filter((key) => ended || key.status === "active");
	const others = [...used.keys()].filter((caller) => !keys.some((key) => key.id === caller));
	const rotate = async (key) => {
		setMade(await ask("POST", `v1/admin/keys/${key.id}/rotate`, {}));
		await changed();
	};
	const revoke = async (key) => {
		await ask("DELETE", `v1/admin/keys/${key.id}`);
		await changed();
	};
	return html`<section aria-labelledby="keys">
		<h2 id="keys">Keys</h2>
		${made && html`<${Made} made=${made} done=${() => setMade(null)} />`}
		<div class="scroll"><table>
			<thead><tr><th scope="col">Name</th><th scope="col">Begins with</th><th scope="col">Role, tier</th><th scope="col">Sees</th><th scope="col">Last used</th><th scope="col">Ends</th><th scope="col">Requests, ${DAYS} days</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
			<tbody>
				${shown.map((key) => html`<tr key=${key.id}>
					<th scope="row">${key.name || "without a name"}${key.status !== "active" && html` <small>${key.status}</small>`}</th><td><code>${key.prefix}</code></td><td>${key.role}, ${key.tier}</td>
					<td>${key.collections ? key.collections.join(", ") || "no collection" : "all"}${key.read_only ? ", reads only" : ""}</td>
					<td>${date(key.last_used)}</td><td>${date(key.expires)}</td><td><${Days} days=${days} used=${used.get(key.id)} most=${most} /></td>
					<td>${key.status === "active" && html`<span class="actions">
						<${Confirmed} label="Rotate" question=${`Rotate the key “${key.name || key.prefix}”? The old one opens for 24 hours more.`} act=${() => rotate(key)} />
						<${Confirmed} label="Revoke" question=${`Revoke the key “${key.name || key.prefix}” for good? Whoever uses it is refused within seconds.`} act=${() => revoke(key)} />
					</span>`}</td>
				</tr>`)}
				${others.map((caller) => html`<tr key=${caller}><th scope="row">${caller}</th><td>–</td><td colspan="4">a token, or a key of the environment</td><td><${Days} days=${days} used=${used.get(caller)} most=${most} /></td><td></td></tr>`)}
			</tbody>
		</table></div>
		${keys.some((key) => key.status !== "active") && html`<button class="plain" aria-pressed=${ended} onClick=${() => setEnded(!ended)}>${ended ? "Hide" : "Show"} expired and revoked keys</button>`}
		<${Create} made=${async (key) => (setMade(key), await changed())} />
	</section>`;
}

function Made({ made, done }) {
	return html`<div class="made" role="status">
		<p><b>Copy this key now: it is shown this once, and nobody can read it again.</b></p>
		<p><code tabindex="0">${made.key}</code></p>
		<p><${Copy} text=${() => made.key} label="Copy the key" /> <button onClick=${done}>I have it</button></p>
	</div>`;
}

function lastDays() {
	const now = Date.now();
	return Array.from({ length: DAYS }, (_, at) => new Date(now - (DAYS - 1 - at) * DAY_MS).toISOString().slice(0, 10));
}

/** A bar for each day, refused requests in another shade; the sum in words. */
function Days({ days, used, most }) {
	const rows = days.map((day) => used?.get(day));
	const sum = (name) => rows.reduce((total, row) => total + (row?.[name] ?? 0), 0);
	return html`<span class="days"><svg viewBox="0 0 ${4 * DAYS} 24" aria-hidden="true">${rows.map((row, at) => row && html`<g>
			<title>${days[at]}: ${row.requests} requests, ${row.rejected} refused</title>
			<rect x=${4 * at} y=${24 - height(row.requests, most)} width="3" height=${height(row.requests, most)} />
			<rect class="refused" x=${4 * at} y=${24 - height(row.rejected, most)} width="3" height=${height(row.rejected, most)} />
		</g>`)}</svg> <span>${sum("requests").toLocaleString("en")}${sum("rejected") ? `, ${sum("rejected").toLocaleString("en")} refused` : ""}</span></span>`;
}

const height = (count, most) => (count ? Math.max(1, (24 * count) / most) : 0);

function Create({ made }) {
	const [problem, setProblem] = useState(null);
	const create = async (event) => {
		event.preventDefault();
		const form = event.target;
		const { name, role, tier, days, collections, reads } = form.elements;
		const names = collections.value.split(/[\s,]+/).filter(Boolean);
		const body = { name: name.value, role: role.value, tier: tier.value, read_only: reads.checked };
		if (days.value) body.expires_days = Number(days.value);
		if (names.length) body.collections = names;
		try {
			const key = await ask("POST", "v1/admin/keys", body);
			setProblem(null);
			form.reset();
			await made(key);
		} catch (error) {
			setProblem(error);
		}
	};
	const choice = (id, label, names) => html`<div class="field"><label for=${id}>${label}</label><select id=${id} name=${id}>${names.map((name) => html`<option value=${name}>${name}</option>`)}</select></div>`;
	return html`<details><summary>Make a key</summary><form class="create" onSubmit=${create}>
		<div class="field"><label for="name">Name</label><input id="name" name="name" maxlength="128" autocomplete="off" placeholder="whose it is" /></div>
		${choice("role", "Role", ["user", "read-only", "admin"])}
		${choice("tier", "Tier", ["standard", "public", "premium", "unlimited"])}
		<div class="field"><label for="days">Days until it ends</label><input id="days" name="days" type="number" min="1" max="36500" placeholder="never" /></div>
		<div class="field"><label for="collections">Collections</label><input id="collections" name="collections" autocomplete="off" placeholder="all, or names and team-*" /></div>
		<label class="check"><input type="checkbox" name="reads" /> searches, and changes nothing</label>
		<button class="main">Make it</button>
		<${Message} problem=${problem} />
	</form></details>`;
}
