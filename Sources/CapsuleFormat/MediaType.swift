/// The media types in a capsule's manifest. Those of OCI where it has one, ours where it has none.
package enum MediaType {
  package static let manifest = "application/vnd.oci.image.manifest.v1+json"
  /// The manifest's artifactType.
  package static let capsule = "application/vnd.perseid.capsule.v1"
  package static let config = "application/vnd.perseid.capsule.config.v1+json"
  /// The root file system: a tar stream in independent zstd frames.
  package static let rootFileSystem = "application/vnd.oci.image.layer.v1.tar+zstd"
  package static let frameIndex = "application/vnd.perseid.capsule.frameindex.v1"
  /// The root file system as an erofs image.
  package static let erofs = "application/vnd.perseid.capsule.erofs.v1"
  package static let kernel = "application/vnd.perseid.capsule.kernel.v1"
  package static let initramfs = "application/vnd.perseid.capsule.initramfs.v1"
  /// A cpio image with `/init` alone, to be put behind the initramfs.
  package static let stage1 = "application/vnd.perseid.capsule.stage1.v1"
  /// A `FileBundle` of `STATE/NN-name` and `STATE/NN-name.server`.
  package static let nodescripts = "application/vnd.perseid.capsule.nodescripts.v1.tar+zstd"
  /// A `FileBundle` of what configures and keeps the capsule: `capsule.yaml`, `recipe.yaml`, `hooks/NAME`, lists.
  package static let tools = "application/vnd.perseid.capsule.tools.v1.tar+zstd"
}
