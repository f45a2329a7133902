"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-scheduler and kube-controller-manager, without containers."""
