# A kind node: the recipe of kind's own images/base/Dockerfile, from Debian packages and the binaries of binaries.py.
ARG BASE=debian:trixie-slim
FROM ${BASE}
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
      systemd conntrack iptables nftables iproute2 ethtool ipset util-linux mount kmod jq procps ca-certificates curl \
      runc containernetworking-plugins libseccomp2 e2fsprogs \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
      /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
      /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/* \
      /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
 && echo ReadKMsg=no >> /etc/systemd/journald.conf \
 && ln -sf /usr/lib/systemd/systemd /sbin/init \
 && ln -s /usr/sbin/runc /usr/local/sbin/runc \
 && mkdir -p /opt/cni/bin /etc/kubernetes/manifests /kind/manifests \
 && for plugin in host-local loopback ptp portmap; do ln -s /usr/lib/cni/$plugin /opt/cni/bin/$plugin; done
COPY files/ /
COPY bin/ /usr/local/bin/
COPY default-storage.yaml /kind/manifests/default-storage.yaml
ARG KUBERNETES
# The kubelet unit of kind names /usr/bin/kubelet. Without CAP_SYS_RESOURCE nobody may lower an oom_score_adj, so containerd
# is told not to try.
RUN chmod -R u=rwX,go=rX /etc/containerd /etc/systemd /kind && chmod 0755 /usr/local/bin/* /kind/bin/* \
 && ln -s /usr/local/bin/kubelet /usr/local/bin/kubeadm /usr/local/bin/kubectl /usr/bin/ \
 && ctr oci spec \
      | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
      > /etc/containerd/cri-base.json \
 && sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml \
 && pause="$(kubeadm config images list --kubernetes-version ${KUBERNETES} | grep /pause:)" \
 && sed -i "s#sandbox_image = .*#sandbox_image = \"${pause}\"#" /etc/containerd/config.toml \
 && systemctl enable kubelet.service containerd.service undo-mount-hacks.service \
 && systemctl mask systemd-binfmt.service \
 && printf %s "${KUBERNETES}" > /kind/version && touch /kind/product_name /kind/product_uuid
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
