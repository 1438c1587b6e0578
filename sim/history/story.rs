//! Histories as stories.
