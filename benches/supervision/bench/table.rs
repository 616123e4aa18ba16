//! A table, for the terminal and for the guide.

pub struct Table {
    head: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    pub fn new<'text>(head: impl IntoIterator<Item = &'text str>) -> Table {
        Table { head: head.into_iter().map(str::to_owned).collect(), lines: Vec::new() }
    }

    pub fn push(&mut self, line: Vec<String>) {
        assert_eq!(line.len(), self.head.len(), "a cell for each column");
        self.lines.push(line);
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        [&self.head].into_iter().chain(&self.lines)
    }

    /// In columns: the first one is aligned to the left, the others to the right.
    pub fn text(&self) -> String {
        let width = |column: usize| self.all().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |line: &Vec<String>| {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") }
            });
            cells.collect::<String>().trim_end().to_owned() + "\n"
        };
        self.all().map(line).collect()
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|---|{}\n", "---:|".repeat(self.head.len() - 1));
        let lines: String = self.lines.iter().map(line).collect();
        line(&self.head) + &rule + &lines
    }
}
