import Capsule
import CapsuleFormat
package import NetworkTypes
package import StateProtocol
package import TFTP

/// What a name stands for: loaders, kernel and initramfs of a boot, and what GRUB and pxelinux ask before
/// them. TFTP and HTTP ask here alike.
package struct BootContent: ContentSource {
  private let registry: Registry
  private let ledger: BootLedger
  private let catalog: CapsuleCatalog
  private let loaders: LoaderFiles
  private let site: SiteFiles
  private let instructions: InstructionMaker
  /// The nodes' HTTP port.
  private let port: Int

  package init(
    registry: Registry, ledger: BootLedger, catalog: CapsuleCatalog, loaders: LoaderFiles, site: SiteFiles, port: Int,
    standby: [NodeRecord.Server] = []
  ) {
    self.registry = registry
    self.ledger = ledger
    self.catalog = catalog
    self.loaders = loaders
    self.site = site
    self.port = port
    instructions = InstructionMaker(ledger: ledger, catalog: catalog, standby: standby)
  }

  package func content(
    named name: String, for client: IPv4Address, at server: IPv4Address
  ) async -> ContentAnswer {
    guard let file = BootFileName(name) else { return await site.content(named: name, for: client) }
    switch file {
    case .loader, .kernel, .initramfs, .optional:
      // What the appliance itself serves comes first, so that no file of the site takes its place.
      let own = content(file)
      guard case .notFound = own else { return own }
      let other = await site.content(named: name, for: client)
      if case .notFound = other { return own }
      return other
    case .failure(let failure): return told(failure)
    case .script(let language, let mac, let isAgain):
      guard let mac = mac ?? ledger.mac(at: client) else {
        return .notFound("no machine is known at \(client): its name must end in the card's address")
      }
      return await script(language, for: mac, isAgain: isAgain, client: client, server: server)
    }
  }

  /// Files that are the same for whoever asks; anything else is not found.
  package func content(_ file: BootFileName) -> ContentAnswer {
    switch file {
    case .loader(let name): return loaders.content(name)
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
    case .optional: return .notFound("nothing is kept under this name; the loader goes on without it")
    case .script, .failure: return .notFound("there is no file of this name")
    }
  }

  private func part(_ blob: Descriptor) -> Content.Part {
    .file(path: catalog.content.path(of: blob.digest), size: Int(clamping: blob.size))
  }

  /// Made now; the boot it belongs to is on the disk before it leaves.
  private func script(
    _ language: BootFileName.Language, for mac: MACAddress, isAgain: Bool, client: IPv4Address, server: IPv4Address
  ) async -> ContentAnswer {
    let request = ScriptRequest(mac: mac, address: client, attempt: isAgain ? 1 : 0, source: .tftp)
    let instruction: BootInstruction
    do {
      instruction = try await instructions.instruction(for: request)
    } catch {
      // What went wrong is in the timeline too. The machine shows it, and asks again.
      instruction = .wait(reason: "\(error)")
    }
    let source = LoaderSource(server: server, port: port, mac: mac)
    return switch language {
    case .grub: text(GRUBConfiguration.text(instruction, source, isAgain: isAgain))
    case .pxelinux: text(PXELINUXConfiguration.text(instruction, source))
    }
  }

  /// GRUB says that something did not work, by asking for a name. It runs what it gets.
  private func told(_ failure: BootFileName.Failure) -> ContentAnswer {
    guard let boot = registry.read({ $0.boots[failure.boot] }) else {
      return .notFound("there is no boot \(failure.boot)")
    }
    ledger.record(boot.mac, .tftp, failure.event, failure.words)
    return text("echo 'Perseid: \(failure.words)'\n")
  }

  private func text(_ text: String) -> ContentAnswer { .content(Content(parts: [.bytes(Array(text.utf8))])) }
}
