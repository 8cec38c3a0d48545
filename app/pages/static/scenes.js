// What the playground shows at first, and passages for it: no more than any tier of keys may send at once.

const SHOP = [
	"Express parcels arrive the next working day.",
	"Unworn shoes can be returned within 30 days of delivery.",
	"Clean leather boots with a damp cloth and wax them twice a year.",
	"Refunds are paid to the card you used, a week after the parcel reaches our warehouse.",
	"Boots come up half a size large; compare your foot with the size chart.",
	"Shoes that were worn outside are not taken back.",
	"How long a pair of shoes lasts depends on how often you wear it.",
	"Keep the box: it protects the shoes on their way back.",
	"Our shops are open from nine to six, Monday to Saturday.",
	"A return label is in every parcel; sending it back costs you nothing.",
];

const APPLE = [
	"Apple’s shares rose four per cent after the quarterly figures.",
	"An apple tree needs pruning in late winter, before the buds open.",
	"The new iPhone has a brighter screen and a longer battery life.",
	"Apples keep for months in a cool, dark cellar.",
	"Bake the apples with butter, sugar and cinnamon for forty minutes.",
	"Investors expect Apple to present new software in June.",
	"Granny Smith is a green, sour apple that was first grown in Australia.",
	"The company from Cupertino develops its own processors.",
	"Codling moths lay their eggs on young apples in June.",
	"Cider is made of fermented apple juice.",
];

const BIRDS = [
	"Die Nachtigall singt bis spät in die Nacht, vor allem im Mai.",
	"Der Zug nach Hamburg hat heute zwanzig Minuten Verspätung.",
	"Eulen jagen nachts nach Mäusen und anderen kleinen Säugetieren.",
	"Nachts sinken die Temperaturen auf unter null Grad.",
	"Viele Singvögel beginnen eine Stunde vor Sonnenaufgang zu singen.",
	"Der Chor singt am Sonntag in der Marienkirche.",
	"Der Storch klappert mit dem Schnabel; singen kann er nicht.",
	"Die Aktien fielen am Abend auf den tiefsten Stand des Jahres.",
	"Amseln singen gern in der Dämmerung von hohen Dächern.",
];

export const SCENES = {
	docs: { label: "A question", query: "what happens when an exception is not caught", collection: "demo" },
	shop: { label: "A question", query: "How long can I keep shoes before I return them?", passages: SHOP },
	apple: { label: "An exclusion", query: "apple", passages: APPLE, exclude: ["technology company, shares, iPhone"] },
	birds: { label: "Another language", query: "Welcher Vogel singt in der Nacht?", passages: BIRDS, language: "de" },
};

/** The scenes to offer where these collections can be searched. */
export const offered = (collections) => [collections.includes("demo") ? "docs" : "shop", "apple", "birds"];
