package config

import (
	"strings"

	"github.com/berth-engine/berth/core"
)

// lookup finds the value of a variable.
type lookup func(name string) (value string, set bool)

// lookupIn finds variables in an environment.
func lookupIn(env []string) lookup {
	return func(name string) (string, bool) {
		for _, entry := range env {
			if key, value, _ := strings.Cut(entry, "="); key == name {
				return value, true
			}
		}
		return "", false
	}
}

// words takes a line of a Dockerfile apart as a shell does: quotes and backslashes are taken away, and variables
// ($a, ${a}, ${a:-word}, ${a:+word}) replaced, but not between single quotes.
type words struct {
	text  string
	at    int
	env   lookup
	word  strings.Builder
	begun bool // the word, which may be empty between quotes
	quote byte // 0: none
}

// splitWords splits at blanks. There is at least one word, which may be empty.
func splitWords(text string, env lookup) (list []string, err error) {
	w := &words{text: text, env: env}
	for w.at < len(text) {
		if text[w.at] == ' ' && w.quote == 0 {
			if w.begun {
				list = append(list, w.word.String())
			}
			w.word.Reset()
			w.begun = false
			w.at++
			continue
		}
		w.begun = true
		w.step()
	}
	if w.quote != 0 {
		return nil, core.Invalid("unexpected end of statement while looking for matching %s-quote", map[byte]string{'\'': "single", '"': "double"}[w.quote])
	}
	if w.begun || len(list) == 0 {
		list = append(list, w.word.String())
	}
	return list, nil
}

// expand does the same without splitting.
func expand(text string, env lookup) string {
	w := &words{text: text, env: env}
	for w.at < len(text) {
		w.step()
	}
	return w.word.String()
}

// step takes the next character, or what it begins.
func (w *words) step() {
	c := w.text[w.at]
	w.at++
	switch {
	case c == '\\' && w.quote != '\'':
		w.escape()
	case w.quote != 0 && c == w.quote:
		w.quote = 0
	case w.quote == 0 && (c == '\'' || c == '"'):
		w.quote = c
	case c == '$' && w.quote != '\'':
		w.variable()
	default:
		w.word.WriteByte(c)
	}
}

// escape takes what is behind a backslash. Between double quotes most characters need none, and keep it.
func (w *words) escape() {
	if w.at == len(w.text) {
		w.word.WriteByte('\\')
		return
	}
	c := w.text[w.at]
	w.at++
	if w.quote == '"' && c != '"' && c != '\\' && c != '$' {
		w.word.WriteByte('\\')
	}
	w.word.WriteByte(c)
}

// variable takes what is behind a dollar sign. One that names nothing stays as it is.
func (w *words) variable() {
	rest := w.text[w.at:]
	if strings.HasPrefix(rest, "{") {
		inside, _, closed := strings.Cut(rest[1:], "}")
		name, how, conditional := strings.Cut(inside, ":")
		if !closed || nameLength(name) != len(name) || name == "" || conditional && !strings.HasPrefix(how, "-") && !strings.HasPrefix(how, "+") {
			w.word.WriteByte('$')
			return
		}
		w.at += len(inside) + 2
		value, _ := w.env(name)
		switch {
		case conditional && how[0] == '-' && value == "":
			value = expand(how[1:], w.env)
		case conditional && how[0] == '+' && value != "":
			value = expand(how[1:], w.env)
		}
		w.word.WriteString(value)
		return
	}
	length := nameLength(rest)
	if length == 0 {
		w.word.WriteByte('$')
		return
	}
	w.at += length
	value, _ := w.env(rest[:length])
	w.word.WriteString(value)
}

// nameLength is how many bytes of the text are the name of a variable.
func nameLength(text string) int {
	for i := range len(text) {
		c := text[i]
		isLetter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !isLetter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(text)
}
