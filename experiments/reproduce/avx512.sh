#!/usr/bin/env bash
# bits.py on an emulated Intel processor with AVX512, Bochs's Skylake-X, without and with the variables of
# precision=portable. Boots a Linux that holds nothing but Python and what bits.py imports. See README.md.
#
#     experiments/reproduce/avx512.sh FOLDER      2.5 GB there, and half an hour of one core
#
# On Debian 12, with: apt-get install bochs bochs-term bochsbios syslinux mtools dosfstools busybox-static kmod cpio rsync
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
python=$(readlink -f "$here/.venv/bin/python")
packages=$("$here/.venv/bin/python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])')
imported=(torch torchgen numpy numpy.libs antlr4 pydantic pydantic_core omegaconf yaml attr attrs dill tqdm hydra sympy
    mpmath networkx jinja2 markupsafe filelock fsspec packaging typing_inspection annotated_types typing_extensions.py)
mkdir -p "$1" && cd "$1"
rm -rf kernel system boot ./*.img ./*.lock serial

# The system: Python, the packages and this checkout's promax, and the libraries that they link to.
mkdir -p system/{bin,dev,proc,sys,tmp,packages}
rsync -aR --exclude={site-packages,dist-packages,test,tests,idlelib,ensurepip,tkinter} \
    "$python" "${python%/bin/*}"/lib/{python3.*,libpython3.*} system/ 2> /dev/null || test -d "system${python%/bin/*}/lib"
for each in "${imported[@]}"; do rsync -a --exclude={include,test,tests} "$packages/$each" system/packages/; done
rsync -a --include='*/' --include='*.py' --exclude='*' "$here/promax" "$here/experiments/reproduce" system/packages/
find system "$python" -name '*.so*' -o -path "$python" | xargs ldd 2>/dev/null | awk '/=> \/(lib|usr)/ {print $3}' | sort -u |
    while read -r library; do mkdir -p "system${library%/*}" && cp -L "$library" "system$library"; done
mkdir -p system/lib64 && cp -L /lib64/ld-linux-x86-64.so.2 system/lib64/
cp "$(command -v busybox)" system/bin/
cat > system/begin <<END
#!/bin/busybox sh
exec > /dev/ttyS0 2>&1 < /dev/null
export PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
busybox grep -m1 -o 'avx512.*' /proc/cpuinfo
variables=\$($python /packages/reproduce/bits.py variables)
echo portable; busybox env \$variables $python /packages/reproduce/bits.py
# The last line of these Bochs can't compute: OpenBLAS's own kernel takes an instruction that it has not.
echo neither; $python /packages/reproduce/bits.py
busybox poweroff -f
END
chmod +x system/begin
# Bochs takes images of whole cylinders only, of 516,096 bytes.
truncate -s $((516096 * 2300)) system.img && mke2fs -q -F -t ext4 -d system system.img

# The kernel, and a first system that knows the disk and goes on from it.
apt-get download -qq "$(apt-cache depends linux-image-amd64 | awk '/Depends/ {print $2}')" && dpkg -x linux-image-*.deb kernel
version=$(basename kernel/lib/modules/*) && depmod -b kernel "$version"
mkdir -p boot/{bin,modules,proc,dev,system} && cp "$(command -v busybox)" boot/bin/
for each in ext4 ata_piix sd_mod crc32c_generic; do
    modprobe -d kernel -S "$version" --show-depends "$each" | awk '{print $2}'
done | awk '!seen[$0]++' | while read -r module; do cp "$module" boot/modules/ && basename "$module" >> boot/modules/order; done
cat > boot/init <<'END'
#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
while read -r module; do busybox insmod "/modules/$module"; done < /modules/order
until [ -b /dev/sdb ]; do busybox sleep 1; done
busybox mount -t ext4 -o ro /dev/sdb /system
for each in proc:proc sysfs:sys devtmpfs:dev tmpfs:tmp; do
    busybox mount -t "${each%:*}" none "/system/${each#*:}"
done
exec busybox switch_root /system /begin
END
chmod +x boot/init && (cd boot && find . | cpio -o -H newc --quiet | gzip -1) > initrd
truncate -s $((516096 * 130)) boot.img && mkfs.vfat boot.img > /dev/null && syslinux --install boot.img
# Linux takes Bochs's sizes of the compacted state for wrong, and would do without AVX.
printf 'DEFAULT linux\nLABEL linux\n KERNEL vmlinuz\n INITRD initrd\n APPEND console=ttyS0 panic=-1 clearcpuid=xsaves,xsavec\n' > syslinux.cfg
mcopy -i boot.img "kernel/boot/vmlinuz-$version" ::vmlinuz && mcopy -i boot.img initrd syslinux.cfg ::

cat > bochsrc <<END
display_library: term
cpu: model=corei7_skylake_x, ips=100000000
megs: 2048
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path=boot.img, mode=flat
ata0-slave: type=disk, path=system.img, mode=flat
boot: disk
log: bochs.log
panic: action=fatal
error: action=report
info: action=ignore
com1: enabled=1, mode=file, dev=serial
END
echo c > commands
# Its screen, of which there is nothing to see, wants a terminal.
TERM=vt100 script -qec 'bochs-bin -q -f bochsrc -rc commands' screen > /dev/null < /dev/null || true
tr -d '\r' < serial | sed -n '/^avx512/,$p' | grep -v '^\['
