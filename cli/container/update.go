package container

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

type updating struct {
	blkioWeight                                         uint16
	cpuPeriod, cpuQuota, rtPeriod, rtRuntime            int64
	cpuShares, pids                                     int64
	cpusetCPUs, cpusetMems, restart                     string
	memory, memoryReservation, memorySwap, kernelMemory option.Bytes
	cpus                                                option.CPUs
	weights                                             option.Weights
	readBps, readIOps, writeBps, writeIOps              option.Rates
	publish, unpublish                                  option.List
}

// NewUpdate is `update`.
func NewUpdate(s *session.Session) *cobra.Command {
	var o updating
	o.memorySwap.Unlimited = true
	cmd := &cobra.Command{
		Use:               "update [OPTIONS] CONTAINER [CONTAINER...]",
		Annotations:       session.Brief,
		Short:             "Update configuration of one or more containers",
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeContainers(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().NFlag() == 0 {
				return errors.New("you must provide one or more flags when using this command")
			}
			config, err := o.config(cmd)
			if err != nil {
				return err
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			return s.Each(args, func(name string) error { return apply(cmd.Context(), s, api, name, config) })
		},
	}
	f := cmd.Flags()
	f.Uint16Var(&o.blkioWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)")
	f.Int64Var(&o.cpuPeriod, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	f.Int64Var(&o.rtPeriod, "cpu-rt-period", 0, "Limit the CPU real-time period in microseconds")
	f.Int64Var(&o.rtRuntime, "cpu-rt-runtime", 0, "Limit the CPU real-time runtime in microseconds")
	o.readBps.Bytes, o.writeBps.Bytes = true, true
	f.Var(&o.weights, "blkio-weight-device", "Block IO weight (relative device weight)")
	f.Var(&o.readBps, "device-read-bps", "Limit read rate (bytes per second) from a device")
	f.Var(&o.readIOps, "device-read-iops", "Limit read rate (IO per second) from a device")
	f.Var(&o.writeBps, "device-write-bps", "Limit write rate (bytes per second) to a device")
	f.Var(&o.writeIOps, "device-write-iops", "Limit write rate (IO per second) to a device")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.Int64VarP(&o.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.VarP(&o.memory, "memory", "m", "Memory limit")
	f.Var(&o.memoryReservation, "memory-reservation", "Memory soft limit")
	f.Var(&o.memorySwap, "memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap")
	f.Var(&o.kernelMemory, "kernel-memory", "Kernel memory limit")
	f.StringVar(&o.restart, "restart", "", "Restart policy to apply when a container exits")
	f.Int64Var(&o.pids, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.Var(&o.cpus, "cpus", "Number of CPUs")
	f.Var(&o.publish, "publish", "Publish a container's port(s) to the host, while it runs")
	f.Var(&o.unpublish, "unpublish", "Stop publishing a container's port (80/tcp), or one binding of it (8080:80)")
	hide(f, "kernel-memory")
	return cmd
}

// update is the body of the request: Docker's fields, and two that berthd alone knows.
type update struct {
	container.UpdateConfig
	PublishPorts   network.PortMap `json:",omitempty"`
	UnpublishPorts network.PortMap `json:",omitempty"` // an empty list: all bindings of that port
}

// updated is the answer; PortBindings are told by a daemon that can change them.
type updated struct {
	container.UpdateResponse
	PortBindings *network.PortMap
}

func (o *updating) config(cmd *cobra.Command) (u update, err error) {
	if _, u.PublishPorts, err = option.Ports(o.publish.Values); err != nil {
		return u, err
	}
	if _, u.UnpublishPorts, err = option.Ports(o.unpublish.Values); err != nil {
		return u, err
	}
	for port, bindings := range u.UnpublishPorts {
		if slices.ContainsFunc(bindings, func(b network.PortBinding) bool { return b.HostPort == "" && !b.HostIP.IsValid() }) {
			u.UnpublishPorts[port] = []network.PortBinding{}
		}
	}
	policy, err := option.RestartPolicy(o.restart)
	if err != nil {
		return u, err
	}
	resources := container.Resources{
		BlkioWeight:        o.blkioWeight,
		CpusetCpus:         o.cpusetCPUs,
		CpusetMems:         o.cpusetMems,
		CPUShares:          o.cpuShares,
		Memory:             o.memory.Value,
		MemoryReservation:  o.memoryReservation.Value,
		MemorySwap:         o.memorySwap.Value,
		CPUPeriod:          o.cpuPeriod,
		CPUQuota:           o.cpuQuota,
		CPURealtimePeriod:  o.rtPeriod,
		CPURealtimeRuntime: o.rtRuntime,
		NanoCPUs:           int64(o.cpus),

		BlkioWeightDevice:    o.weights.Values,
		BlkioDeviceReadBps:   o.readBps.Values,
		BlkioDeviceReadIOps:  o.readIOps.Values,
		BlkioDeviceWriteBps:  o.writeBps.Values,
		BlkioDeviceWriteIOps: o.writeIOps.Values,
	}
	if cmd.Flags().Changed("pids-limit") {
		resources.PidsLimit = &o.pids
	}
	u.UpdateConfig = container.UpdateConfig{Resources: resources, RestartPolicy: policy}
	return u, nil
}

func apply(ctx context.Context, s *session.Session, api *client.Client, name string, config update) error {
	var answer updated
	if err := api.Post(ctx, path(name, "update"), nil, config, &answer); err != nil {
		return err
	}
	for _, warning := range answer.Warnings {
		fmt.Fprintln(s.Err, warning)
	}
	if len(config.PublishPorts)+len(config.UnpublishPorts) > 0 && answer.PortBindings == nil {
		return errors.New("this daemon can't change the published ports of a container: they are as they were")
	}
	return nil
}
