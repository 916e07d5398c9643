package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	discoveryv1apply "k8s.io/client-go/applyconfigurations/discovery/v1"
	rbacv1apply "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"
)

// dnsUser is whom CoreDNS is to the API server, by the certificate that the control plane makes.
const dnsUser = "system:korder-dns"

// startDNS answers for the names of Services and pods. CoreDNS runs beside the kubelet, behind the
// Service that clusters have it behind.
func startDNS(ctx context.Context, c *children, client *kubernetes.Clientset, address string) error {
	if err := applyDNS(ctx, client, address); err != nil {
		return fmt.Errorf("set up DNS: %w", err)
	}
	config := fmt.Sprintf(`.:53 {
    bind %s
    errors
    cache 5
    kubernetes %s in-addr.arpa {
        kubeconfig %s
        pods insecure
    }
}
`, address, clusterDomain, c.settings.path("pki", "dns.kubeconfig"))
	if err := writeFile("/run/korder/Corefile", config); err != nil {
		return err
	}
	_, err := c.start("coredns", false, c.settings.coreDNS, "-conf=/run/korder/Corefile")
	return err
}

// applyDNS makes CoreDNS' rights, its Service, and its endpoint.
func applyDNS(ctx context.Context, client *kubernetes.Clientset, address string) error {
	options := metav1.ApplyOptions{FieldManager: "korder-node", Force: true}
	read := []string{"get", "list", "watch"}
	role := rbacv1apply.ClusterRole(dnsUser).WithRules(
		rbacv1apply.PolicyRule().WithAPIGroups("").WithResources("services", "pods", "namespaces").WithVerbs(read...),
		rbacv1apply.PolicyRule().WithAPIGroups("discovery.k8s.io").WithResources("endpointslices").WithVerbs(read...),
	)
	if _, err := client.RbacV1().ClusterRoles().Apply(ctx, role, options); err != nil {
		return err
	}
	binding := rbacv1apply.ClusterRoleBinding(dnsUser).
		WithRoleRef(rbacv1apply.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(dnsUser)).
		WithSubjects(rbacv1apply.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.UserKind).WithName(dnsUser))
	if _, err := client.RbacV1().ClusterRoleBindings().Apply(ctx, binding, options); err != nil {
		return err
	}
	const name, port = "kube-dns", 53
	service := corev1apply.Service(name, metav1.NamespaceSystem).WithSpec(corev1apply.ServiceSpec().WithClusterIP(dnsService).WithPorts(
		corev1apply.ServicePort().WithName("dns").WithPort(port).WithProtocol(corev1.ProtocolUDP),
		corev1apply.ServicePort().WithName("dns-tcp").WithPort(port).WithProtocol(corev1.ProtocolTCP),
	))
	if _, err := client.CoreV1().Services(metav1.NamespaceSystem).Apply(ctx, service, options); err != nil {
		return err
	}
	slice := discoveryv1apply.EndpointSlice(name+"-node", metav1.NamespaceSystem).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: name}).
		WithAddressType(discoveryv1.AddressTypeIPv4).
		WithEndpoints(discoveryv1apply.Endpoint().WithAddresses(address)).
		WithPorts(
			discoveryv1apply.EndpointPort().WithName("dns").WithPort(port).WithProtocol(corev1.ProtocolUDP),
			discoveryv1apply.EndpointPort().WithName("dns-tcp").WithPort(port).WithProtocol(corev1.ProtocolTCP),
		)
	_, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceSystem).Apply(ctx, slice, options)
	return err
}
