package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// containerdSocket is containerd's own default.
const containerdSocket = "/run/containerd/containerd.sock"

// registries is a directory of how registries are reached.
const registries = "/run/korder/registries"

// sandboxImage holds a pod's namespaces, and is what guardians run.
const sandboxImage = "registry.k8s.io/pause:3.10.1"

// containerdConfig is in the second version of its format, which 1.6 and 2.x both read. Paths are its
// defaults. Without the right to raise a process' priority with the killer of processes
// (CAP_SYS_RESOURCE), which containers lack, every pod would hang in ContainerCreating but for
// `restrict_oom_score_adj`.
const containerdConfig = `version = 2
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = '` + sandboxImage + `'
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  [plugins.'io.containerd.grpc.v1.cri'.cni]
    bin_dir = '` + cniPlugins + `'
  [plugins.'io.containerd.grpc.v1.cri'.registry]
    config_path = '` + registries + `'
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
`

// cniConfig connects pods by a bridge, whose subnet is the node's, and by ports of the node.
const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "korder",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{ "subnet": "` + podSubnet + `" }]],
        "routes": [{ "dst": "0.0.0.0/0" }]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
`

// podSubnet holds the addresses of the node's pods, beside those of Services (10.0.0.0/16) and of
// simulated pods (10.128.0.0/9).
const podSubnet = "10.1.0.0/16"

// startContainerd returns when it answers and has the images.
func startContainerd(ctx context.Context, c *children) error {
	files := map[string]string{
		"/run/korder/containerd.toml":       containerdConfig,
		"/etc/cni/net.d/korder.conflist":    cniConfig,
		registries + "/_default/hosts.toml": registryHosts,
	}
	for path, content := range files {
		if err := writeFile(path, content); err != nil {
			return err
		}
	}
	// Addresses that the last run gave to pods, none of which runs any more.
	if err := os.RemoveAll("/var/lib/cni/networks"); err != nil {
		return err
	}
	if _, err := c.start("containerd", false, "containerd", "--config=/run/korder/containerd.toml"); err != nil {
		return err
	}
	if err := waitContainerd(ctx); err != nil {
		return err
	}
	for _, archive := range c.settings.images {
		if output, err := ctr(ctx, "images", "import", archive); err != nil {
			return fmt.Errorf("import the image `%s`: %w: %s", archive, err, output)
		}
	}
	return nil
}

func waitContainerd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		output, err := ctr(ctx, "version")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("containerd does not answer: %w: %s", err, output), ctx.Err())
		case <-time.After(readyInterval):
		}
	}
}

// ctr runs containerd's own client where Kubernetes keeps its images.
func ctr(ctx context.Context, args ...string) (string, error) {
	output, err := exec.CommandContext(ctx, "ctr", append([]string{"--address=" + containerdSocket, "--namespace=k8s.io"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(output)), err
}
