// Package client speaks the Docker Engine API from the command line's side: it finds its way to a daemon over a UNIX
// socket, TCP with or without TLS, or ssh; it agrees on a version, and turns answers that are refusals into errors.
//
// It knows no nouns: commands name paths and shapes. A round trip is what costs time on a start, so no request is made
// to learn the version: the newest is used at once, and a daemon that finds it too new is asked again in its own.
package client
