package server

import "strings"

// handler answers one request. An error that it returns is answered with the status of its class.
type handler func(c *call) error

// route is an endpoint. A pattern's "{x}" stands for one part of the path, "{x...}" for one or more (names of
// images contain slashes, and clients put one before the names of containers). At most one of them is in a pattern.
type route struct {
	method  string
	pattern string
	handle  handler
}

// router finds endpoints: by method and first part of the path, then in the order of the table.
type router map[string][]compiled

type compiled struct {
	before, after string // of the variable part; without a variable part: the whole path, and nothing
	variable      bool
	many          bool
	handle        handler
}

func newRouter(table []route) router {
	r := make(router)
	for _, entry := range table {
		c := compiled{before: entry.pattern, handle: entry.handle}
		if before, rest, ok := strings.Cut(entry.pattern, "{"); ok {
			name, after, _ := strings.Cut(rest, "}")
			c.before, c.after, c.variable, c.many = before, after, true, strings.HasSuffix(name, "...")
		}
		key := routeKey(entry.method, entry.pattern)
		r[key] = append(r[key], c)
	}
	return r
}

// routeKey is the method and the first part of a path.
func routeKey(method, path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return method + " " + first
}

// find gives the handler of a request and sets its name; nil: there is no such endpoint.
func (r router) find(c *call, path string) handler {
	for _, entry := range r[routeKey(c.r.Method, path)] {
		if !entry.variable {
			if path == entry.before {
				return entry.handle
			}
			continue
		}
		middle, ok := strings.CutPrefix(path, entry.before)
		if !ok {
			continue
		}
		middle, ok = strings.CutSuffix(middle, entry.after)
		if !ok || middle == "" || !entry.many && strings.Contains(middle, "/") {
			continue
		}
		c.name = middle
		return entry.handle
	}
	return nil
}
