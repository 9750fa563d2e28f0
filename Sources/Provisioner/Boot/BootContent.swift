import Capsule
import CapsuleFormat
package import NetworkTypes
package import TFTP

/// What a name stands for: loaders, and kernel and initramfs of a boot. TFTP and HTTP ask here alike.
package struct BootContent: ContentSource {
  /// A file of a boot.
  package enum Name: Hashable, Sendable {
    case loader(String)
    case kernel(boot: String)
    case initramfs(boot: String)
  }

  private let registry: Registry
  private let catalog: CapsuleCatalog
  private let loaders: LoaderFiles
  private let site: SiteFiles

  package init(registry: Registry, catalog: CapsuleCatalog, loaders: LoaderFiles, site: SiteFiles) {
    self.registry = registry
    self.catalog = catalog
    self.loaders = loaders
    self.site = site
  }

  /// Firmware mangles names: backslashes, slashes in front or doubled, rubbish behind, upper case.
  package static func name(_ text: String) -> Name? {
    let clean = text.unicodeScalars.prefix { $0.value >= 32 && $0.value != 127 && $0.value < 128 }
    let parts = String(String.UnicodeScalarView(clean)).lowercased().split { $0 == "/" || $0 == "\\" }.map(String.init)
    switch parts.count {
    case 1: return .loader(parts[0])
    case 3 where parts[0] == "b" && parts[2] == "kernel": return .kernel(boot: parts[1])
    case 3 where parts[0] == "b" && parts[2] == "initramfs": return .initramfs(boot: parts[1])
    default: return nil
    }
  }

  package func content(named name: String, for client: IPv4Address) async -> ContentAnswer {
    // What the appliance itself serves comes first, so that no file of the site takes its place.
    let own = Self.name(name).map(content)
    switch own {
    case nil, .notFound: break
    case let answer?: return answer
    }
    let answer = await site.content(named: name, for: client)
    if case .notFound = answer { return own ?? answer }
    return answer
  }

  package func content(_ file: Name) -> ContentAnswer {
    switch file {
    case .loader(let name):
      return loaders.content(name).map { .content($0) } ?? .notFound("there is no boot loader of this name")
    case .kernel(let id), .initramfs(let id):
      guard let boot = registry.read({ $0.boots[id] }) else {
        return .notFound("there is no boot \(id): ask for the script again")
      }
      guard let digest = boot.digest else { return .refused("capsule \(boot.vnfs) is not there") }
      do {
        let files = try catalog.files(of: digest)
        if case .kernel = file { return .content(Content(parts: [part(files.kernel)])) }
        return .content(Content(parts: [part(files.initramfs), part(files.stage1)]))
      } catch {
        return .refused("\(error)")
      }
    }
  }

  private func part(_ blob: Descriptor) -> Content.Part {
    .file(path: catalog.content.path(of: blob.digest), size: Int(clamping: blob.size))
  }
}
