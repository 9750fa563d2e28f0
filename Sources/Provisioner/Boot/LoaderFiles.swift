import FoundationEssentials
package import TFTP

/// The boot loaders, where Debian's packages put them.
package struct LoaderFiles: Hashable, Sendable {
  /// One file that machines load before the kernel.
  package struct Loader: Hashable, Sendable {
    /// As machines ask for it.
    package var name: String
    /// Below the directory.
    package var path: String
    /// The package it comes in.
    package var package: String
    /// The chain it is part of.
    package var method: BootMethod
  }

  package static let all: [Loader] =
    ["undionly.kpxe", "snponly.efi", "ipxe.efi"].map {
      Loader(name: $0, path: "ipxe/\($0)", package: "ipxe", method: .ipxe)
    } + [
      Loader(name: "shimx64.efi", path: "shim/shimx64.efi.signed", package: "shim-signed", method: .grub),
      // The name that shim asks for; this build of GRUB is the one that loads over the network.
      Loader(
        name: "grubx64.efi", path: "grub/x86_64-efi-signed/grubnetx64.efi.signed", package: "grub-efi-amd64-signed",
        method: .grub),
      Loader(name: "pxelinux.0", path: "PXELINUX/pxelinux.0", package: "pxelinux", method: .pxelinux),
      Loader(
        name: "ldlinux.c32", path: "syslinux/modules/bios/ldlinux.c32", package: "syslinux-common", method: .pxelinux),
    ]

  package let directory: String

  package init(directory: String = "/usr/lib") {
    self.directory = directory
  }

  /// - Throws: `ApplianceError` naming the files of a chain that are missing, and the packages they are in.
  package func check(_ method: BootMethod = .ipxe) throws {
    let missing = Self.all.filter { $0.method == method && size(of: $0) == nil }
    guard !missing.isEmpty else { return }
    var packages: [String] = []
    for loader in missing where !packages.contains(loader.package) { packages.append(loader.package) }
    throw ApplianceError(
      .failed,
      "The boot loaders \(missing.map(\.path).joined(separator: ", ")) are not in \(directory). "
        + "Install the packages they come in: apt-get install \(packages.joined(separator: " ")).")
  }

  /// The file of this name; where it is missing, the answer says which package has it.
  package func content(_ name: String) -> ContentAnswer {
    guard let loader = Self.all.first(where: { $0.name == name }) else {
      return .notFound("there is no boot loader of this name")
    }
    guard let size = size(of: loader) else {
      return .refused("\(name) is not on the appliance: apt-get install \(loader.package)")
    }
    return .content(Content(parts: [.file(path: "\(directory)/\(loader.path)", size: size)]))
  }

  private func size(of loader: Loader) -> Int? {
    let attributes = try? FileManager.default.attributesOfItem(atPath: "\(directory)/\(loader.path)")
    return (attributes?[.size] as? UInt64).map(Int.init(clamping:)) ?? attributes?[.size] as? Int
  }
}
