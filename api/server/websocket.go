package server

import "github.com/berth-engine/berth/core"

func (c *call) websocket(attach func(core.Hijack) error) error {
	return core.NotImplemented("Berth does not have attachments over websockets yet")
}
