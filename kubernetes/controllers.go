package main

import (
	"context"

	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
)

// controllerManager is kube-controller-manager, configured and not yet run.
type controllerManager struct {
	options *options.KubeControllerManagerOptions
}

// newControllerManager configures kube-controller-manager. It needs no leader election: the lock on
// the data directory already keeps a second one away.
func newControllerManager(s *settings) (*controllerManager, error) {
	o, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, err
	}
	flags := o.Flags(app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases())
	return &controllerManager{o}, parseOptions(flags,
		"--kubeconfig="+s.path("pki", "controller-manager.kubeconfig"),
		"--leader-elect=false",
		"--secure-port=0",
		"--use-service-account-credentials=true",
		"--root-ca-file="+s.path("pki", "ca.crt"),
		"--service-account-private-key-file="+s.path("pki", "sa.key"),
		"--cluster-signing-cert-file="+s.path("pki", "ca.crt"),
		"--cluster-signing-key-file="+s.path("pki", "ca.key"),
		// It makes this directory, by default a system one.
		"--flex-volume-plugin-dir="+s.path("volume-plugins"),
		// The default of 20 a second is far below what one machine's API server takes.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	)
}

// run runs the controllers until ctx ends.
func (c *controllerManager) run(ctx context.Context) error {
	config, err := c.options.Config(ctx, app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases())
	if err != nil {
		return err
	}
	return app.Run(ctx, config.Complete())
}
