package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

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
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// A loopback address is no valid endpoint of the Service `kubernetes`.
		"--endpoint-reconciler-type=none",
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
		// Simulated nodes have names that nothing resolves.
		"--kubelet-preferred-address-types=InternalIP",
	)
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
func (a *apiServer) waitReady(ctx context.Context, server string) error {
	s := a.settings
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ca, err := os.ReadFile(s.path("pki", "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	admin, err := tls.LoadX509KeyPair(s.path("pki", "admin.crt"), s.path("pki", "admin.key"))
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{admin}}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for last := errors.New("no answer"); ; {
		switch response, err := client.Get(server + "/readyz"); {
		case err != nil:
			last = err
		default:
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			last = errors.New(response.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver is not ready: %w", last)
		case <-time.After(readyInterval):
		}
	}
}
