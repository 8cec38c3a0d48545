// Components that are drawn again only when a property changed.

import { Component, html } from "./vendor/preact-htm.js";

export function pure(draw) {
	return class extends Component {
		shouldComponentUpdate(next) {
			const names = new Set([...Object.keys(next), ...Object.keys(this.props)]);
			return [...names].some((name) => next[name] !== this.props[name]);
		}

		render(properties) {
			return html`<${draw} ...${properties} />`;
		}
	};
}
