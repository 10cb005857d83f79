package id

import "math/rand/v2"

// Name is a name for a container whose owner gave none: an adjective, an underscore, a surname. There are several
// thousand; the caller tries again when one is taken.
func Name() string {
	return adjectives[rand.IntN(len(adjectives))] + "_" + surnames[rand.IntN(len(surnames))]
}

// The lists hold lower-case ASCII letters only, so that every combination is a valid container name and host name.
var (
	adjectives = [...]string{
		"able", "agile", "amber", "ample", "apt", "azure", "balmy", "beaming", "blithe", "brave", "breezy", "bright",
		"brisk", "calm", "candid", "cheerful", "chipper", "civil", "clear", "clever", "coastal", "coral", "cordial",
		"crisp", "curious", "dapper", "daring", "deft", "devoted", "eager", "earnest", "fair", "faithful", "fearless",
		"fleet", "fond", "frank", "fresh", "gallant", "genial", "gentle", "gleaming", "golden", "graceful", "grand",
		"hardy", "hearty", "honest", "hopeful", "humble", "ideal", "jaunty", "jolly", "keen", "kind", "limber",
		"lively", "loyal", "lucid", "mellow", "merry", "mighty", "mindful", "modest", "neat", "nimble", "noble",
		"patient", "placid", "playful", "plucky", "polite", "prompt", "proud", "quick", "quiet", "radiant", "ready",
		"robust", "salty", "sage", "seaworthy", "serene", "sharp", "silver", "sincere", "smart", "snug", "sound",
		"spry", "stable", "steady", "sterling", "stoic", "sturdy", "sunny", "swift", "tender", "tidy", "tranquil",
		"trusty", "upbeat", "valiant", "vivid", "warm", "watchful", "willing", "wise", "witty", "zesty",
	}
	// People of seafaring, science and engineering.
	surnames = [...]string{
		"adleman", "almeida", "amundsen", "anning", "archimedes", "babbage", "banneker", "barents", "beaufort",
		"bernoulli", "bering", "bessemer", "bohr", "bondar", "boole", "braille", "brunel", "cabot", "cartwright",
		"cerf", "chandrasekhar", "cook", "coulomb", "cousteau", "curie", "dias", "diesel", "dijkstra", "drake",
		"earhart", "edison", "eiffel", "einstein", "elcano", "erdos", "euclid", "euler", "faraday", "fermat", "fermi",
		"feynman", "fourier", "franklin", "fresnel", "fulton", "galilei", "gama", "gauss", "germain", "goodall",
		"halley", "hamilton", "heisenberg", "henson", "hertz", "hopper", "hubble", "hudson", "humboldt", "huygens",
		"hypatia", "jemison", "joule", "kepler", "kernighan", "knuth", "kovalevskaya", "lagrange", "lamarr",
		"laplace", "leibniz", "linnaeus", "lovelace", "magellan", "marconi", "maury", "maxwell", "meitner", "mendel",
		"mercator", "mirzakhani", "morse", "nansen", "napier", "newton", "nobel", "noether", "ohm",
		"oersted", "pascal", "pasteur", "peary", "perlman", "pike", "planck", "polo", "poincare", "ramanujan", "ride",
		"riemann", "ritchie", "ross", "scott", "shackleton", "shannon", "slocum", "snow", "stephenson", "swan",
		"tabarly", "tereshkova", "tesla", "thompson", "torvalds", "turing", "vespucci", "volta", "watt", "wilson",
		"wren", "wright", "zheng", "zuse",
	}
)
