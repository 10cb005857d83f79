// Package build makes images of Dockerfiles. It is the door of BuildKit: the solver, the Dockerfile frontend and the
// build cache run inside the daemon, started at first use, on the content store, snapshotter and image store that the
// image organ owns, so that a built image is there to run without being copied.
//
// The parts, from the client inwards:
//
//	classic.go    POST /build: a tar or a remote context, Docker's classic output or BuildKit's trace
//	tarfs.go      the tar served straight to BuildKit as a file system; hostile names never reach the disk
//	steps.go      what the Dockerfile says, numbered as Docker numbers it
//	transcript.go BuildKit's progress turned into Docker's classic text
//	serve.go      /grpc and /session: BuildKit's own protocols for buildx and berth-build
//	engine.go     BuildKit put together: worker, solver, frontends, caches
//	worker.go     exporters: a finished image gets its name through the image organ
//	executor.go   a step becomes an OCI bundle; shim.go runs the bundle with berth-shim
//	network.go    the namespaces that steps run in
//	cache.go      usage, prune and the limit of the build cache
package build
