import Testing

/// Fields of a table that share bytes.
///
/// A table of several structures holds alternatives, and a field whose comment says `overlaps`
/// means it.
func overlapViolations(in files: [SourceFile]) -> [String] {
    files.flatMap { file -> [String] in
        LayoutTable.tables(in: file).filter { !$0.isUnion }.flatMap { table -> [String] in
            let marked = table.fields.filter { !file.lines[$0.line - 1].contains("overlaps") }
            return zip(marked.indices, marked).flatMap { index, field in
                marked[..<index].filter { $0.range.overlaps(field.range) }
                    .map { "\(file.path):\(field.line): \(field.name) overlaps \($0.name)" }
            }
        }
    }
}

/// Tables that do not say which structure they are, and fields without the kernel's name.
func unnamedViolations(in files: [SourceFile]) -> [String] {
    files.flatMap { file -> [String] in
        LayoutTable.tables(in: file).flatMap { table -> [String] in
            (table.structures.isEmpty ? ["\(file.path):\(table.line): of which structure?"] : [])
                + table.fields.filter { $0.member == nil }
                .map { "\(file.path):\($0.line): \($0.name): which member?" }
        }
    }
}

/// Offsets that stand in code above the layer of the on-disk records; an index into an array of
/// numbers, multiplied by their size, is none.
func strayOffsetViolations(in files: [SourceFile]) -> [String] {
    files.flatMap { file -> [String] in
        guard let folder = file.engineFolder, !["Primitives", "OnDisk"].contains(folder) else {
            return []
        }
        return file.codeLines.enumerated().compactMap { number, line in
            line.firstMatch(
                of: #/Field<[^>]+>\s*\.\s*[lb]e\(\s*(?:0x[0-9A-Fa-f]+|\d+)\s*\)|byte\(at:\s*0x/#)
                == nil
                ? nil : "\(file.path):\(number + 1): an offset"
        }
    }
}

/// Fields that stand elsewhere, or are of another size, than the C compiler says.
func offsetViolations(in files: [SourceFile]) throws -> [String] {
    struct Question {
        let place: String
        let field: LayoutField
        let answers: Range<Int>
    }
    var wanted: [(structure: String, member: String)] = []
    var questions: [Question] = []
    for file in files {
        for table in LayoutTable.tables(in: file) {
            for field in table.fields {
                guard let member = field.member else { continue }
                let start = wanted.count
                wanted += table.structures.map { ($0, member) }
                questions.append(
                    Question(
                        place: "\(file.path):\(field.line): \(member)", field: field,
                        answers: start..<wanted.count))
            }
        }
    }
    let members = try KernelStructures.members(wanted)
    return questions.compactMap { question in
        let found = members[question.answers].compactMap { $0 }
        guard !found.isEmpty else { return "\(question.place): no such member" }
        let field = question.field
        let fits = found.contains {
            $0.offset == field.offset && ($0.size == field.size || $0.elementSize == field.size)
        }
        return fits
            ? nil : "\(question.place): at \(field.offset), \(field.size) bytes; C says \(found)"
    }
}

@Suite struct LayoutTests {
    @Test func fieldsDoNotOverlap() throws {
        expectNone(try overlapViolations(in: SourceTree.engine()))
    }

    @Test func everyFieldHasTheKernelsName() throws {
        expectNone(try unnamedViolations(in: SourceTree.engine()))
    }

    @Test func offsetsStandInTheTablesOnly() throws {
        expectNone(try strayOffsetViolations(in: SourceTree.engine()))
    }

    @Test func offsetsAreThoseOfTheHeaders() throws {
        expectNone(try offsetViolations(in: SourceTree.engine()))
    }

    // Each rule is shown to find what it looks for.

    private func table(_ lines: String..., structures: String = "struct ext4_super_block")
        -> [SourceFile]
    {
        let text =
            (["extension S {", "    enum Layout {  // \(structures)"]
            + lines.map { "        static let " + $0 } + ["    }", "}"]).joined(separator: "\n")
        return [SourceFile(path: "Sources/Ext4/OnDisk/S.swift", text: text)]
    }

    @Test func overlapsAreFound() {
        let a = "a = Field<UInt32>.le(0x04)  // s_blocks_count_lo"
        #expect(overlapViolations(in: table(a, "b = Field<UInt16>.le(0x06)  // x")).count == 1)
        #expect(overlapViolations(in: table(a, "b = 0x00..<0x05  // x")).count == 1)
        #expect(overlapViolations(in: table(a, "b = Field<UInt16>.le(8)  // x")) == [])
        #expect(overlapViolations(in: table(a, "b = 0..<8  // x, overlaps a")) == [])
    }

    @Test func namelessFieldsAreFound() {
        #expect(unnamedViolations(in: table("a = Field<UInt32>.le(4)")).count == 1)
        #expect(unnamedViolations(in: table("a = 0..<4  // s_x", structures: "")).count == 1)
    }

    @Test func strayOffsetsAreFound() {
        let text = "let a = bytes[Field<UInt16>.le(0x3A)]\nlet b = bytes.byte(at: 0x10)\n"
        let above = SourceFile(path: "Sources/Ext4/Volume/V.swift", text: text)
        let below = SourceFile(path: "Sources/Ext4/OnDisk/V.swift", text: text)
        #expect(strayOffsetViolations(in: [above, below]).count == 2)
    }

    @Test func wrongOffsetsAreFound() throws {
        let good = table(
            "magic = Field<UInt16>.le(0x38)  // s_magic",
            "blocksLow = Field<UInt32>.le(4)  // s_blocks_count_lo",
            "uuid = 0x68..<0x78  // s_uuid", "seed = Field<UInt32>.le(0xEC)  // s_hash_seed")
        #expect(try offsetViolations(in: good) == [])
        for bad in [
            "magic = Field<UInt16>.le(0x3A)  // s_magic",  // elsewhere
            "magic = Field<UInt32>.le(0x38)  // s_magic",  // too wide
            "uuid = 0x68..<0x70  // s_uuid",  // too short
            "magic = Field<UInt16>.le(0x38)  // s_magick",  // no such member
        ] {
            #expect(try offsetViolations(in: table(bad)).count == 1, "\(bad)")
        }
        let journal = table(
            "first = Field<UInt32>.be(0x14)  // s_first", structures: "journal_superblock_t")
        #expect(try offsetViolations(in: journal) == [])
        let tags = table(
            "checksumV2 = Field<UInt16>.be(4)  // t_checksum",
            "checksumV3 = Field<UInt32>.be(12)  // t_checksum",
            "wrong = Field<UInt32>.be(4)  // t_checksum",
            structures: "journal_block_tag_t, journal_block_tag3_t")
        #expect(try offsetViolations(in: tags).count == 1)
    }
}
