"""English function words that say nothing about a text's subject.

When in doubt a word is left out of the list: BM25 weighs frequent words down by itself, but cannot find a dropped one.
"""

_ARTICLES = "a an the this that these those such some any each every either neither both all no none"
_PRONOUNS = (
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves who whom whose which what"
)
_VERBS = (
    "am is are was were be been being have has had having do does did doing done can could may might must shall should "
    "will would ought"
)
_CONTRACTIONS = (
    "i'm i've i'd i'll we're we've we'd we'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd "
    "it'll they're they've they'd they'll who's who'd who'll that's that'd that'll there's there'd there'll "
    "here's what's where's when's why's how's isn't aren't wasn't weren't haven't hasn't hadn't don't doesn't didn't "
    "can't couldn't mustn't shan't shouldn't won't wouldn't let's"
)
_PREPOSITIONS = (
    "about above across after against along among around at before behind below beneath beside between beyond by down "
    "during except for from in into of off on onto out over per since than through to toward towards under until up "
    "upon via with within"
)
_CONNECTIVES = "and or nor but if then else because as while although though whereas whether so yet unless"
_ADVERBS = (
    "not only just also too very quite rather again once here there where when why how now ever never always often "
    "more most much many few less least other another same own however therefore thus hence etc"
)

STOP_WORDS: frozenset[str] = frozenset(
    " ".join(
        (_ARTICLES, _PRONOUNS, _VERBS, _CONTRACTIONS, _PREPOSITIONS, _CONNECTIVES, _ADVERBS),
    ).split()
)
