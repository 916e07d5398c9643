package main

import (
	"bufio"
	"fmt"
)

// registryAddress is where images are pulled from, whatever registry they are said to be in: the node
// reaches no other. No pod reaches this one.
const registryAddress = "127.0.0.1:5000"

// registryHosts sends every pull there.
const registryHosts = `server = 'http://` + registryAddress + `'
[host.'http://` + registryAddress + `']
  capabilities = ['pull', 'resolve']
`

// startRegistry returns when the archives of the data directory can be pulled.
func startRegistry(c *children) error {
	s := c.settings
	registry, err := c.start("registry", true, s.registry,
		"-listen="+registryAddress, "-blobs="+s.path("node", "registry"), s.path("node", "images"), s.path("node", "pulled"))
	if err != nil {
		return err
	}
	if _, err := bufio.NewReader(registry.stdout).ReadString('\n'); err != nil {
		return fmt.Errorf("the registry does not serve its images: %w; its log: %s", err, tail(s.path("logs", "registry.log")))
	}
	return nil
}
