// Package build is `berth build`, in a binary of its own because of the weight of BuildKit's client: the command line is
// turned into a request of the Dockerfile frontend, and the daemon's BuildKit is spoken to directly, over /grpc for the
// request and /session for the files, secrets and credentials that the daemon asks for while it builds.
//
// The parts: command.go has the flags, attributes.go turns them into what the frontend understands, source.go finds
// context and Dockerfile, output.go says where the result goes, dial.go connects, solve.go runs it all and shows it.
package build
