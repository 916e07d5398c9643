package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// readyTimeout bounds the wait for the API server, readyInterval is the time between two looks.
const (
	readyTimeout  = 2 * time.Minute
	readyInterval = 20 * time.Millisecond
)

// apiServer is kube-apiserver, configured and not yet run.
type apiServer struct {
	settings *settings
	options  *options.ServerRunOptions
}

// newAPIServer configures kube-apiserver. Webhooks are called wherever their configuration says,
// so that one on the host is reached by `clientConfig.url`.
func newAPIServer(s *settings, listener net.Listener, etcd string) (*apiServer, error) {
	o := options.NewServerRunOptions()
	o.SecureServing.Listener, o.SecureServing.BindPort = listener, portOf(listener)
	return &apiServer{s, o}, parseOptions(o.Flags(),
		"--etcd-servers="+etcd,
		"--bind-address="+s.listenAddress(),
		"--advertise-address="+s.address(),
		"--endpoint-reconciler-type="+s.endpointReconciler(),
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--service-cluster-ip-range=10.0.0.0/16",
		"--client-ca-file="+s.path("pki", "ca.crt"),
		"--tls-cert-file="+s.path("pki", "serving.crt"),
		"--tls-private-key-file="+s.path("pki", "serving.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+s.path("pki", "sa.key"),
		"--service-account-signing-key-file="+s.path("pki", "sa.key"),
		"--kubelet-certificate-authority="+s.path("pki", "ca.crt"),
		"--kubelet-client-certificate="+s.path("pki", "kubelet-client.crt"),
		"--kubelet-client-key="+s.path("pki", "kubelet-client.key"),
		// Nodes have names that nothing resolves.
		"--kubelet-preferred-address-types=InternalIP",
	)
}

// endpointReconciler keeps the endpoint of the Service `kubernetes`, of which a loopback address is no
// valid one.
func (s *settings) endpointReconciler() string {
	if s.node.name == "" {
		return "none"
	}
	return "lease"
}

// run serves until ctx ends.
func (a *apiServer) run(ctx context.Context) error {
	completed, err := a.options.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return errors.Join(errs...)
	}
	return app.Run(ctx, completed)
}

// waitReady returns when `/readyz` answers that all is well.
func (a *apiServer) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client, err := newClient(a.settings.path("kubeconfig"))
	if err != nil {
		return err
	}
	for {
		_, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver is not ready: %w", err)
		case <-time.After(readyInterval):
		}
	}
}

// newClient makes a client that asks as fast as it can: the API server knows how much it takes.
func newClient(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	return kubernetes.NewForConfig(config)
}
