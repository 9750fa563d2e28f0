import Capsule
import CapsuleFormat
import Crypto
package import Logging
import NetworkTypes
package import StateProtocol
import TFTP

/// What nodes get over HTTP: loaders, scripts, files of their boots, blobs, plans.
package struct NodeService: NodeAPI {
  private let registry: Registry
  private let ledger: BootLedger
  private let catalog: CapsuleCatalog
  private let content: BootContent
  private let instructions: InstructionMaker
  private let rendered: RenderedContent
  private let states: StateService
  private let logger: Logger
  private let meter = BlobMeter()

  package init(
    registry: Registry, ledger: BootLedger, catalog: CapsuleCatalog, content: BootContent, rendered: RenderedContent,
    states: StateService, standby: [NodeRecord.Server] = [], logger: Logger
  ) {
    self.registry = registry
    self.ledger = ledger
    self.catalog = catalog
    self.content = content
    instructions = InstructionMaker(ledger: ledger, catalog: catalog, standby: standby)
    self.rendered = rendered
    self.states = states
    self.logger = logger
  }

  package func respond(to request: NodeRequest) async -> NodeResponse {
    let parts = request.path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
    if request.method == .post {
      switch parts {
      case ["v1", "state"]: return await report(request)
      case ["v1", "events"]: return record(request)
      default: return .text(404, "There is nothing to post to at \(request.path).\n")
      }
    }
    switch parts.first {
    case "ipxe" where parts.count == 1: return await script(request)
    case "loader" where parts.count == 2: return file(.loader(parts[1]), parts[1], request)
    case "b" where parts.count == 3 && parts[2] == "kernel": return file(.kernel(boot: parts[1]), "kernel", request)
    case "b" where parts.count == 3 && parts[2] == "initramfs":
      return file(.initramfs(boot: parts[1]), "initramfs", request)
    case "blobs" where parts.count == 3 && parts[1] == "sha256": return blob(parts[2], request)
    case "v1": return .text(405, "This answers to POST only.\n")
    default: return .text(404, "There is nothing at \(request.path).\n")
    }
  }

  // MARK: The script

  private func script(_ request: NodeRequest) async -> NodeResponse {
    let mac = request.query["mac"].flatMap { MACAddress($0) } ?? ledger.mac(at: request.client)
    guard let mac, mac.isUnicast else {
      return .text(
        400, IPXEScript.leave(reason: "the request for a script names no hardware address (mac=52:54:00:12:34:56)"))
    }
    let attempt = request.query["attempt"].flatMap { Int($0) } ?? 0
    let source = IPXEScript.Source(
      server: request.server, port: request.port, mac: mac, attempt: max(0, min(attempt, 1000)))
    if request.method == .head { return Self.plain("") }
    let asked = ScriptRequest(
      mac: mac, guid: request.query["uuid"].flatMap { $0.utf8.count <= 64 ? $0 : nil }, address: request.client,
      attempt: source.attempt, source: .http)
    do {
      return Self.plain(IPXEScript.text(try await instructions.instruction(for: asked), source))
    } catch {
      logger.error("No script for \(mac): \(error)")
      return Self.plain(IPXEScript.wait(source, reason: "\(error)"))
    }
  }

  private static func plain(_ text: String) -> NodeResponse {
    NodeResponse(
      status: 200, contentType: "text/plain; charset=utf-8", fields: [("Cache-Control", "no-store")],
      body: Content(parts: [.bytes(Array(text.utf8))]))
  }

  // MARK: Files

  private func file(_ name: BootFileName, _ what: String, _ request: NodeRequest) -> NodeResponse {
    let mac: MACAddress?
    if let id = name.boot { mac = registry.read { $0.boots[id]?.mac } } else { mac = ledger.mac(at: request.client) }
    let body: Content
    switch content.content(name) {
    case .content(let content): body = content
    // Only TFTP hands out the site's own files.
    case .file: return .text(404, "there is no such file\n")
    case .notFound(let reason):
      if let mac { ledger.record(mac, .http, what, "not there: \(reason)") }
      return .text(404, reason + "\n")
    case .refused(let reason):
      if let mac { ledger.record(mac, .http, what, "refused: \(reason)") }
      return .text(503, reason + "\n")
    }
    var response = NodeResponse(status: 200, contentType: "application/octet-stream", body: body)
    guard request.method == .get, let mac else { return response }
    if name.boot != nil { ledger.came(mac, to: .loading) }
    ledger.record(mac, .http, what, "asked for, \(ByteCount.words(Int64(body.size)))")
    let ledger = ledger
    response.delivered = { delivery in
      let words = "\(ByteCount.words(Int64(delivery.bytes))) in \(ByteCount.seconds(delivery.seconds))"
      ledger.record(
        mac, .http, what, delivery.isComplete ? "delivered, \(words)" : "broken off after \(words)",
        seconds: delivery.seconds)
    }
    return response
  }

  private func blob(_ hexadecimal: String, _ request: NodeRequest) -> NodeResponse {
    guard let digest = CapsuleFormat.Digest(hexadecimal: hexadecimal) else {
      return .text(400, "A blob is named by the 64 lower-case hexadecimal digits of its SHA-256 digest.\n")
    }
    let type = "application/octet-stream"
    if let bytes = rendered.bytes(digest) {
      return NodeResponse(
        status: 200, contentType: type, body: Content(parts: [.bytes(bytes)]), isImmutable: true)
    }
    guard let size = try? catalog.content.size(of: digest) else {
      return .text(404, "There is no blob \(digest). Ask for the plan again.\n")
    }
    var response = NodeResponse(
      status: 200, contentType: type,
      body: Content(parts: [.file(path: catalog.content.path(of: digest), size: Int(clamping: size))]),
      isImmutable: true)
    // Small blobs are a plan's details; the steps tell of them.
    guard request.method == .get, size >= 1 << 20, let mac = ledger.mac(at: request.client),
      let boot = ledger.attemptID(of: mac)
    else { return response }
    let what = name(digest, boot)
    if meter.begins(digest, boot: boot, now: .now) {
      ledger.record(mac, .http, what, "asked for, \(ByteCount.words(size))")
    }
    response.delivered = { [ledger, meter] delivery in
      let sum = meter.delivered(delivery.bytes, of: digest, size: size, boot: boot, now: .now)
      guard let sum else { return }
      let requests = sum.requests == 1 ? "" : " with \(sum.requests) requests"
      ledger.record(
        mac, .http, what, "delivered, \(ByteCount.words(sum.bytes)) in \(ByteCount.seconds(sum.seconds))\(requests)",
        seconds: sum.seconds)
    }
    return response
  }

  /// What a blob is in the capsule of a boot.
  private func name(_ digest: CapsuleFormat.Digest, _ boot: String) -> String {
    guard let manifest = registry.read({ $0.boots[boot]?.digest }), let files = try? catalog.files(of: manifest) else {
      return "blob"
    }
    if digest == files.rootImage?.digest { return "root image" }
    return digest == files.root.digest ? "root" : digest == files.frameIndex.digest ? "frame index" : "blob"
  }

  // MARK: States

  private func report(_ request: NodeRequest) async -> NodeResponse {
    do {
      let report = try StateReport.decode(request.body)
      let plan = try await states.plan(
        for: report, from: StateService.Origin(client: request.client, server: request.server))
      let body = try ProtocolJSON.encode(plan)
      guard let digest = CapsuleFormat.Digest(bytes: Array(SHA256.hash(data: body))) else {
        return .text(500, "No digest.\n")
      }
      return NodeResponse(
        status: 200, contentType: "application/json",
        fields: [("Content-Digest", ContentDigest.fieldValue(digest)), ("Cache-Control", "no-store")],
        body: Content(parts: [.bytes(body)]))
    } catch {
      return refusal("state report", request, error)
    }
  }

  private func record(_ request: NodeRequest) -> NodeResponse {
    do {
      let report = try EventReport.decode(request.body)
      try states.record(report, from: StateService.Origin(client: request.client, server: request.server))
      return NodeResponse(status: 204, contentType: "text/plain; charset=utf-8", body: Content(parts: []))
    } catch {
      return refusal("event report", request, error)
    }
  }

  private func refusal(_ what: String, _ request: NodeRequest, _ error: any Error) -> NodeResponse {
    logger.warning("The \(what) of \(request.client) was refused: \(error)")
    let status: Int
    switch error {
    case let failure as ProtocolJSON.Failure:
      if case .tooLarge = failure { status = 413 } else { status = 400 }
    case let error as ApplianceError:
      switch error.code {
      case .invalid: status = 400
      case .notFound: status = 404
      default: status = 503
      }
    default: status = 503
    }
    return .text(status, "The \(what) was refused: \(error)\n")
  }
}
