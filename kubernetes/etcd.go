package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdServer is etcd in this process, with one member.
type etcdServer struct {
	endpoint string
	etcd     *embed.Etcd
	dir      *os.File
}

// startEtcd starts etcd and waits until it serves. Clients reach it through a unix socket in the
// data directory, nobody else can.
func startEtcd(s *settings) (*etcdServer, error) {
	// A socket's path has 107 bytes at most. Named through an open directory it is always short.
	dir, err := os.Open(s.dataDir)
	if err != nil {
		return nil, err
	}
	socket := fmt.Sprintf("/proc/self/fd/%d/etcd.sock", dir.Fd())
	config := embed.NewConfig()
	config.Dir = s.path("etcd")
	config.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	// There are no peers. The advertised addresses keep their defaults: they must look like host and
	// port, and nobody dials them.
	config.ListenPeerUrls = nil
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	// The only member need not wait a second for its own election.
	config.TickMs, config.ElectionMs = 10, 100
	config.UnsafeNoFsync = s.unsafeNoFsync
	config.QuotaBackendBytes = 4 << 30
	// Below "error" it reports statistics of very many requests, which costs more than it tells.
	config.LogLevel, config.LogOutputs = "error", []string{s.path("logs", "etcd.log")}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		etcd.Close()
		return nil, errors.Join(err, dir.Close())
	}
	return &etcdServer{"unix://" + socket, etcd, dir}, nil
}

// Close stops etcd. Its clients must have gone before.
func (e *etcdServer) Close() {
	e.etcd.Close()
	_ = e.dir.Close()
}
