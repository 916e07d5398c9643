package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/cli"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	proxyapp "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// kubeletRole and kubeProxyRole are the first arguments that make this binary one of them.
const (
	kubeletRole   = "kubelet"
	kubeProxyRole = "kube-proxy"
)

// heartbeat is how often the kubelet reports the node's state.
const heartbeat = 10 * time.Second

// Fixed addresses in the range of Services (see the control plane): what pods ask for names.
const (
	dnsService    = "10.0.0.10"
	clusterDomain = "cluster.local"
)

// runComponent is the child process: upstream's own command with its own command line.
func runComponent(role string, args []string) int {
	// They look at the process' own arguments, too.
	os.Args = append([]string{role}, args...)
	if role == kubeletRole {
		return cli.Run(kubeletapp.NewKubeletCommand(context.Background()))
	}
	return cli.Run(proxyapp.NewProxyCommand())
}

func startKubelet(c *children, address string) error {
	s := c.settings
	config := &kubeletconfig.KubeletConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: kubeletconfig.SchemeGroupVersion.String(), Kind: "KubeletConfiguration"},
		// Version 1 of cgroups is served where the machine has it.
		FailCgroupV1:             ptr.To(false),
		CgroupDriver:             "cgroupfs",
		CgroupRoot:               "/" + cgroupName(s.dataDir),
		ContainerRuntimeEndpoint: "unix://" + containerdSocket,
		TLSCertFile:              s.path("pki", "node.crt"),
		TLSPrivateKeyFile:        s.path("pki", "node.key"),
		Authentication: kubeletconfig.KubeletAuthentication{
			Anonymous: kubeletconfig.KubeletAnonymousAuthentication{Enabled: ptr.To(false)},
			Webhook:   kubeletconfig.KubeletWebhookAuthentication{Enabled: ptr.To(true)},
			X509:      kubeletconfig.KubeletX509Authentication{ClientCAFile: s.path("pki", "ca.crt")},
		},
		FailSwapOn:                ptr.To(false),
		MakeIPTablesUtilChains:    ptr.To(false),
		ClusterDNS:                []string{dnsService},
		ClusterDomain:             clusterDomain,
		ResolverConfig:            ptr.To("/run/korder/resolv.conf"),
		NodeStatusUpdateFrequency: metav1.Duration{Duration: heartbeat},
		NodeStatusReportFrequency: metav1.Duration{Duration: heartbeat},
		CPUManagerPolicy:          s.cpuManager,
		// A disk that is nearly full is the host's matter.
		EvictionHard:                map[string]string{"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
		ImageGCHighThresholdPercent: ptr.To[int32](100),
		ImageGCLowThresholdPercent:  ptr.To[int32](99),
	}
	if s.cpuManager != "none" {
		// It wants some of the CPUs for the machine's own work.
		config.SystemReserved = map[string]string{"cpu": "500m"}
	}
	path, err := writeConfig(kubeletRole, config)
	if err != nil {
		return err
	}
	// Names are looked up nowhere but in the cluster.
	if err := writeFile("/run/korder/resolv.conf", ""); err != nil {
		return err
	}
	_, err = c.start(kubeletRole, false, "/proc/self/exe", kubeletRole,
		"--config="+path, "--kubeconfig="+s.path("pki", "node.kubeconfig"),
		"--hostname-override="+nodeName, "--node-ip="+address, "--node-labels="+s.labels.String())
	return err
}

func startKubeProxy(c *children) error {
	s := c.settings
	config := &kubeproxy.KubeProxyConfiguration{
		TypeMeta:           metav1.TypeMeta{APIVersion: kubeproxy.SchemeGroupVersion.String(), Kind: "KubeProxyConfiguration"},
		Mode:               "nftables",
		HostnameOverride:   nodeName,
		ClusterCIDR:        podSubnet,
		HealthzBindAddress: "127.0.0.1:10256",
		MetricsBindAddress: "127.0.0.1:10249",
		NFTables:           kubeproxy.KubeProxyNFTablesConfiguration{MinSyncPeriod: metav1.Duration{Duration: 100 * time.Millisecond}},
		// Its limits belong to the whole kernel.
		Conntrack: kubeproxy.KubeProxyConntrackConfiguration{MaxPerCore: ptr.To[int32](0), Min: ptr.To[int32](0)},
	}
	config.ClientConnection.Kubeconfig = s.path("pki", "kube-proxy.kubeconfig")
	path, err := writeConfig(kubeProxyRole, config)
	if err != nil {
		return err
	}
	_, err = c.start(kubeProxyRole, false, "/proc/self/exe", kubeProxyRole, "--config="+path)
	return err
}

// writeConfig writes a component's configuration and returns its path.
func writeConfig(name string, config any) (string, error) {
	text, err := yaml.Marshal(config)
	if err != nil {
		return "", err
	}
	path := fmt.Sprintf("/run/korder/%s.yaml", name)
	return path, writeFile(path, string(text))
}

func writeFile(path, content string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600))
}
