// Package containers runs what users of testcontainers-go do: real programs in containers, waited for in the ways that
// there are. It is a module of its own, so that what that library needs does not decide the versions of Berth's. The
// tests of the folder above build and run it, see ../testcontainers_test.go.
package containers
