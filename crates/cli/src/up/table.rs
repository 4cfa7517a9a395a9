//! The live table: what `mizzen up` shows on a terminal.
//!
//! In: statuses. Out: frames on the alternate screen, and a word when the user wants to stop. The terminal is given back
//! as it was when this value is dropped.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{
    DefaultTerminal, Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Text},
    widgets::{Paragraph, Row, Table, Wrap},
};
use tokio::sync::mpsc;

use crate::{
    status::Status,
    text::{self, EDGE_COLUMNS, WORKLOAD_COLUMNS},
};

/// How soon the keyboard's thread notices that it is no longer wanted.
const KEY_PAUSE: Duration = Duration::from_millis(100);
/// Lines of findings on the screen.
const FINDING_LINES: u16 = 6;
/// How long messages beside the table stay.
const TITLE: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);

/// What the keyboard asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Stop,
    /// The window has another size.
    Redraw,
}

pub(crate) struct Screen {
    terminal: DefaultTerminal,
    ended: Arc<AtomicBool>,
}

impl Screen {
    pub(crate) fn open(keys: mpsc::Sender<Key>) -> Result<Self> {
        let terminal = ratatui::try_init()?;
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        thread::Builder::new().name("keys".into()).spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if let Some(key) = next_key()
                    && keys.blocking_send(key).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Self { terminal, ended })
    }

    pub(crate) fn draw(&mut self, status: &Status) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, status)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        ratatui::restore();
    }
}

fn next_key() -> Option<Key> {
    if !event::poll(KEY_PAUSE).unwrap_or_default() {
        return None;
    }
    match event::read().ok()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => {
            let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            (interrupt || key.code == KeyCode::Char('q')).then_some(Key::Stop)
        }
        Event::Resize(..) => Some(Key::Redraw),
        _ => None,
    }
}

fn draw(frame: &mut Frame<'_>, status: &Status) {
    let findings = (status.findings.len() as u16 + 1).min(FINDING_LINES + 1);
    let workloads = status.workloads.len() as u16 + 2;
    let edges = (status.edges.len() as u16 + 2).max(3);
    let head = status.published.len() as u16 + 2;
    let areas = Layout::vertical([
        Constraint::Length(head),
        Constraint::Length(workloads),
        Constraint::Min(edges.min(6)),
        Constraint::Length(if status.findings.is_empty() { 0 } else { findings + 1 }),
        Constraint::Length(2),
    ])
    .split(frame.area());
    draw_head(frame, areas[0], status);
    draw_workloads(frame, areas[1], status);
    draw_edges(frame, areas[2], status);
    draw_findings(frame, areas[3], status);
    draw_foot(frame, areas[4], status);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let (word, color) = if status.ready { ("ready", Color::Green) } else { ("starting", Color::Yellow) };
    let mut lines = vec![Line::from_iter(
        [
            Line::styled("mizzen ", TITLE).spans,
            Line::raw(format!("{}  ", status.directory)).spans,
            Line::styled(word, Style::new().fg(color)).spans,
        ]
        .concat(),
    )];
    if let Some(trouble) = &status.trouble {
        lines[0].push_span(ratatui::text::Span::styled(format!("  {trouble}"), Style::new().fg(Color::Red)));
    }
    lines.extend(status.published.iter().map(|line| Line::raw(line.clone())));
    frame.render_widget(Paragraph::new(Text::from(lines)), area);
}

fn draw_workloads(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let rows = status.workloads.iter().map(|workload| {
        let cells = text::workload_cells(workload, status.usage.get(&workload.name));
        let color = if workload.is_ready() { Color::Reset } else { Color::Yellow };
        Row::new(cells).style(Style::new().fg(color))
    });
    let widths = [
        Constraint::Min(20),
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    frame.render_widget(Table::new(rows, widths).header(Row::new(WORKLOAD_COLUMNS).style(TITLE)), area);
}

fn draw_edges(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let rows = status.edges.iter().map(|live| {
        let failing = live.edge.success_rate.is_some_and(|rate| rate < 1.0);
        Row::new(text::edge_cells(live)).style(Style::new().fg(if failing { Color::Red } else { Color::Reset }))
    });
    let widths = [
        Constraint::Min(20),
        Constraint::Min(20),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Fill(1),
    ];
    frame.render_widget(Table::new(rows, widths).header(Row::new(EDGE_COLUMNS).style(TITLE)), area);
}

fn draw_findings(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let mut lines = vec![Line::styled("FINDINGS", TITLE)];
    let shown = status.findings.iter().take(usize::from(FINDING_LINES));
    lines.extend(shown.map(|finding| {
        let color = if finding.severity == "error" { Color::Red } else { Color::Yellow };
        Line::styled(text::finding(finding), Style::new().fg(color))
    }));
    let more = status.findings.len().saturating_sub(usize::from(FINDING_LINES));
    if more > 0 {
        lines.push(Line::raw(format!("and {more} more: mizzen status")));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let last =
        status.last_change.as_ref().map_or_else(String::new, |change| format!("last change: {}", text::change(change)));
    let not_used = match status.not_used.len() {
        0 => String::new(),
        count => format!("  ({count} documents not used)"),
    };
    let lines = vec![
        Line::raw(last),
        Line::styled(format!("Ctrl-C stops everything{not_used}"), Style::new().fg(Color::DarkGray)),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    //! The frame on a terminal of our own.

    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{fleet::WorkloadView, mizzend::FindingView};

    fn screen(status: &Status, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal never fails");
        terminal.draw(|frame| draw(frame, status)).expect("a test terminal never fails");
        terminal.backend().to_string()
    }

    #[test]
    fn what_matters_is_on_the_screen() {
        let workload = |name: &str, why: Option<&str>| WorkloadView {
            name: name.into(),
            replicas: 1,
            ready: u32::from(why.is_none()),
            leaving: 0,
            why: why.map(str::to_owned),
        };
        let finding = FindingView { severity: "error".into(), message: "bad host".into(), ..FindingView::default() };
        let status = Status {
            directory: "/shop".into(),
            workloads: vec![workload("shop/web", None), workload("shop/db", Some("db: exit status 1"))],
            findings: vec![finding],
            published: vec!["http://127.0.0.1:8080".into()],
            ..Status::default()
        };
        let shown = screen(&status, (100, 24));
        for wanted in
            ["/shop  starting", "shop/web", "db: exit status 1", "error: bad host", "127.0.0.1:8080", "Ctrl-C"]
        {
            assert!(shown.contains(wanted), "`{wanted}` in\n{shown}");
        }
        // A window of any size is drawn.
        screen(&status, (10, 3));
        screen(&status, (1, 1));
    }
}
