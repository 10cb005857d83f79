package option

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckEnv reads NAME=value, or NAME, whose value is taken from this program's environment when it is there.
func CheckEnv(text string) (string, error) {
	name, _, hasValue := strings.Cut(text, "=")
	if name == "" {
		return "", errors.New("invalid environment variable: " + text)
	}
	if hasValue {
		return text, nil
	}
	if value, ok := os.LookupEnv(name); ok {
		return name + "=" + value, nil
	}
	return text, nil
}

// Environment joins the lines of files and the values of flags, files first.
func Environment(files, values []string) ([]string, error) {
	return joined(files, values, os.LookupEnv)
}

// Pairs joins the lines of label files and the values of flags, files first.
func Pairs(files, values []string) ([]string, error) { return joined(files, values, nil) }

func joined(files, values []string, lookup func(string) (string, bool)) ([]string, error) {
	var all []string
	for _, file := range files {
		lines, err := pairsOfFile(file, lookup)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	return append(all, values...), nil
}

// pairsOfFile reads lines of name=value; lines that are empty or begin with # are skipped. A name alone takes its value
// from lookup, and is left out when that has none.
func pairsOfFile(path string, lookup func(string) (string, bool)) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	scanner := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Text()
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("invalid utf8 bytes at line %d: %v", n, line)
		}
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, hasValue := strings.Cut(line, "=")
		if strings.ContainsFunc(name, unicode.IsSpace) {
			return nil, fmt.Errorf("variable '%s' contains whitespaces", name)
		}
		if name == "" {
			return nil, fmt.Errorf("no variable name on line '%s'", line)
		}
		switch {
		case hasValue:
			lines = append(lines, name+"="+value)
		case lookup == nil:
			lines = append(lines, name)
		default:
			if found, ok := lookup(name); ok {
				lines = append(lines, name+"="+found)
			}
		}
	}
	return lines, scanner.Err()
}

// PairMap turns pairs into a map; a later one wins.
func PairMap(pairs []string) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		m[key] = value
	}
	return m
}
