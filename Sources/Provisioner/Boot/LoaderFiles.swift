import FoundationEssentials
package import TFTP

/// The boot loaders, where Debian's package `ipxe` puts them.
package struct LoaderFiles: Hashable, Sendable {
  package static let names = ["undionly.kpxe", "snponly.efi", "ipxe.efi"]
  package let directory: String

  package init(directory: String = "/usr/lib/ipxe") {
    self.directory = directory
  }

  /// - Throws: `ApplianceError` naming the files that are missing and the package they are in.
  package func check() throws {
    let missing = Self.names.filter { size(of: $0) == nil }
    guard missing.isEmpty else {
      throw ApplianceError(
        .failed,
        "The boot loaders \(missing.joined(separator: ", ")) are not in \(directory). "
          + "They come with the package ipxe: apt-get install ipxe.")
    }
  }

  package func content(_ name: String) -> Content? {
    guard Self.names.contains(name), let size = size(of: name) else { return nil }
    return Content(parts: [.file(path: "\(directory)/\(name)", size: size)])
  }

  private func size(of name: String) -> Int? {
    let attributes = try? FileManager.default.attributesOfItem(atPath: "\(directory)/\(name)")
    return (attributes?[.size] as? UInt64).map(Int.init(clamping:)) ?? attributes?[.size] as? Int
  }
}
