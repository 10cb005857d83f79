package server

import (
	"net/http"
	"slices"
	"time"
)

const (
	get  = http.MethodGet
	head = http.MethodHead
	post = http.MethodPost
	put  = http.MethodPut
	del  = http.MethodDelete
)

// routes is the table of endpoints. Of two patterns that match, the first one answers.
func routes(o Options, statsPeriod time.Duration) []route {
	return slices.Concat(
		systemRoutes(o),
		containerRoutes(o, statsPeriod),
		imageRoutes(o),
		objectRoutes(o),
		absentRoutes(),
	)
}

func systemRoutes(o Options) []route {
	w := whole{o.System, o.Build}
	t := transfers{o.Transfers}
	b := builds{o.Builds}
	return []route{
		{get, "/_ping", w.ping},
		{head, "/_ping", w.ping},
		{get, "/version", w.version},
		{get, "/info", w.info},
		{get, "/events", w.events},
		{get, "/system/df", w.diskUsage},
		{post, "/auth", t.login},
		{post, "/build", b.build},
		{post, "/build/prune", b.prune},
		{post, "/build/cancel", b.cancel},
		{post, "/grpc", b.grpc},
		{post, "/session", b.session},
	}
}

func containerRoutes(o Options, statsPeriod time.Duration) []route {
	c := containers{o.Containers}
	l := lifecycle{o.Lifecycle}
	v := consoles{o.Consoles}
	m := measurements{o.Consoles, statsPeriod}
	e := execs{o.Execs}
	f := files{o.Files}
	return []route{
		{get, "/containers/json", c.list},
		{post, "/containers/create", c.create},
		{post, "/containers/prune", c.prune},
		{get, "/containers/{name...}/json", c.inspect},
		{get, "/containers/{name...}/logs", v.logs},
		{get, "/containers/{name...}/stats", m.stats},
		{get, "/containers/{name...}/top", v.top},
		{get, "/containers/{name...}/attach/ws", v.attachWebsocket},
		{get, "/containers/{name...}/changes", f.changes},
		{get, "/containers/{name...}/export", f.export},
		{get, "/containers/{name...}/archive", f.archive},
		{head, "/containers/{name...}/archive", f.stat},
		{put, "/containers/{name...}/archive", f.extract},
		{get, "/containers/{name...}/checkpoints", absent("checkpoints")},
		{post, "/containers/{name...}/checkpoints", absent("checkpoints")},
		{post, "/containers/{name...}/start", l.start},
		{post, "/containers/{name...}/stop", l.stop},
		{post, "/containers/{name...}/restart", l.restart},
		{post, "/containers/{name...}/kill", l.kill},
		{post, "/containers/{name...}/pause", l.pause},
		{post, "/containers/{name...}/unpause", l.unpause},
		{post, "/containers/{name...}/wait", l.wait},
		{post, "/containers/{name...}/attach", v.attach},
		{post, "/containers/{name...}/resize", v.resize},
		{post, "/containers/{name...}/rename", c.rename},
		{post, "/containers/{name...}/update", c.update},
		{post, "/containers/{name...}/exec", e.create},
		{del, "/containers/{name...}", c.remove},
		{get, "/exec/{id}/json", e.inspect},
		{post, "/exec/{id}/start", e.start},
		{post, "/exec/{id}/resize", e.resize},
		{post, "/commit", f.commit},
	}
}

func imageRoutes(o Options) []route {
	i := images{o.Images}
	t := transfers{o.Transfers}
	return []route{
		{get, "/images/json", i.list},
		{get, "/images/search", absent("the search of registries")},
		{get, "/images/get", t.save},
		{get, "/images/{name...}/get", t.save},
		{get, "/images/{name...}/history", i.history},
		{get, "/images/{name...}/attestations", absent("the attestations of images")},
		{get, "/images/{name...}/json", i.inspect},
		{post, "/images/load", t.unpack},
		{post, "/images/create", t.create},
		{post, "/images/prune", i.prune},
		{post, "/images/{name...}/push", t.push},
		{post, "/images/{name...}/tag", i.tag},
		{del, "/images/{name...}", i.remove},
		{get, "/distribution/{name...}/json", absent("the look into registries")},
	}
}

func objectRoutes(o Options) []route {
	n := networks{o.Networks}
	v := volumes{o.Volumes}
	vc := volumeCopies{o.VolumeCopies}
	return []route{
		{get, "/networks", n.list},
		{get, "/networks/", n.list},
		{get, "/networks/{id...}", n.inspect},
		{post, "/networks/create", n.create},
		{post, "/networks/prune", n.prune},
		{post, "/networks/{id...}/connect", n.connect},
		{post, "/networks/{id...}/update", n.update},
		{post, "/networks/{id...}/disconnect", n.disconnect},
		{del, "/networks/{id...}", n.remove},
		{get, "/volumes", v.list},
		{get, "/volumes/{name...}/export", vc.export},
		{post, "/volumes/{name...}/import", vc.fill},
		{post, "/volumes/{name...}/clone", vc.clone},
		{post, "/volumes/{name...}/rename", vc.rename},
		{get, "/volumes/{name...}/snapshots", vc.list},
		{post, "/volumes/{name...}/snapshots", vc.snapshot},
		{del, "/volumes/{name...}/snapshots", vc.remove},
		{post, "/volumes/{name...}/rollback", vc.rollback},
		{get, "/volumes/{name...}", v.inspect},
		{post, "/volumes/create", v.create},
		{post, "/volumes/prune", v.prune},
		{put, "/volumes/{name...}", noCluster},
		{del, "/volumes/{name...}", v.remove},
	}
}

// absentRoutes are those of a swarm that is not there, and of plugins.
func absentRoutes() []route {
	table := []route{
		{get, "/swarm", noSwarm},
		{get, "/swarm/unlockkey", noSwarm},
		{post, "/swarm/update", noSwarm},
		{post, "/swarm/unlock", noSwarm},
		{post, "/swarm/init", absent("swarm mode")},
		{post, "/swarm/join", absent("swarm mode")},
		{post, "/swarm/leave", notInSwarm},
		{get, "/plugins", noPlugins},
		{get, "/plugins/privileges", absent("plugins")},
		{get, "/plugins/{name...}/json", noPlugin},
		{post, "/plugins/{name...}", absent("plugins")},
		{del, "/plugins/{name...}", noPlugin},
	}
	for _, noun := range []string{"services", "tasks", "nodes", "secrets", "configs"} {
		for _, method := range []string{get, post, del} {
			table = append(table, route{method, "/" + noun, noSwarm}, route{method, "/" + noun + "/{id...}", noSwarm})
		}
	}
	return table
}
