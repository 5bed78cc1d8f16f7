#!/bin/bash
# Makes a folder of .deb files a flat apt repository: packaging/apt-repo.sh FOLDER [GPG-KEY]
#
# Writes Packages, Packages.gz and Release; with a key of gpg's also InRelease and Release.gpg. Copy the folder to a web
# server, or use it as it is:
#   deb [trusted=yes] file:///path/to/folder ./
#   deb [signed-by=/etc/apt/keyrings/litefs-lite.asc] https://host/folder ./
# Needs dpkg-dev, and gpg for signing.
set -euo pipefail
folder=${1:?usage: apt-repo.sh FOLDER [GPG-KEY]}
key=${2:-}
cd -- "$folder"

dpkg-scanpackages --multiversion . >Packages.new
mv Packages.new Packages
gzip -9nkf Packages

{
  echo "Origin: litefs-lite"
  echo "Label: litefs-lite"
  echo "Suite: stable"
  echo "Architectures: amd64 arm64"
  echo "Date: $(date -Ru)"
  echo "SHA256:"
  for file in Packages Packages.gz; do
    echo " $(sha256sum "$file" | cut -d' ' -f1) $(stat -c %s "$file") $file"
  done
} >Release.new
mv Release.new Release

rm -f InRelease Release.gpg
if [ -n "$key" ]; then
  gpg --batch --yes --local-user "$key" --clearsign --output InRelease Release
  gpg --batch --yes --local-user "$key" --armor --detach-sign --output Release.gpg Release
fi
echo "$(grep -c '^Package:' Packages) packages in $PWD"
